//! The values that are lists of `key=value`: mounts, ports, networks, secrets, configs. Pure.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::number;

/// What published ports look like, in words that follow "expected".
pub(super) const PORTS: &str = "ports such as 8080:80 or published=8080,target=80,mode=host";

/// What is wrong with a value, in words that follow "expected".
type Parsed = Result<Value, String>;

/// The fields of one line of comma-separated values: a field in double quotes may hold commas, and a quote
/// of its own when it is doubled.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut rest = text.chars().peekable();
    let mut is_begin = true;
    let mut is_quoted = false;
    while let Some(c) = rest.next() {
        let field = fields.last_mut().ok_or_else(String::new)?;
        match c {
            '"' if is_quoted && rest.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if is_quoted => {
                is_quoted = false;
                if rest.peek().is_some_and(|&next| next != ',') {
                    return Err("a comma after a closing quote".to_owned());
                }
            }
            c if is_quoted => field.push(c),
            '"' if is_begin => is_quoted = true,
            '"' => return Err("quotes around a whole field only".to_owned()),
            ',' => fields.push(String::new()),
            '\n' | '\r' => return Err("one line".to_owned()),
            c => field.push(c),
        }
        is_begin = c == ',' && !is_quoted;
    }
    if is_quoted {
        return Err("a closing quote".to_owned());
    }
    if text.is_empty() { Err("something".to_owned()) } else { Ok(fields) }
}

/// Whether a value is written in the long syntax: `\w=\w` stands somewhere in it.
fn is_long(text: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices('=')
        .any(|(at, _)| is_word(text[..at].chars().next_back()) && is_word(text[at + 1..].chars().next()))
}

fn pair(field: &str) -> Result<(String, &str), String> {
    let (key, value) = field.split_once('=').ok_or_else(|| format!("a value for {field:?}"))?;
    Ok((key.to_lowercase(), value))
}

fn truth(key: &str, value: Option<&str>) -> Parsed {
    let truth = value.map_or(Some(true), number::go_bool);
    truth.map(Value::from).ok_or_else(|| format!("{key} to be true or false"))
}

/// An object in the place of nothing.
fn made(value: &mut Value) -> &mut Value {
    if value.is_null() {
        *value = json!({});
    }
    value
}

/// What a field that no mount has is answered with. It may be a piece of a password, so it is not quoted.
const NO_FIELD: &str = "only fields that a mount has, such as type, source, target, readonly, volume-opt or bind-propagation; \
                        one with a comma in its value stands in double quotes";

/// `type=volume,source=NAME,target=PATH,...`: as the docker CLI reads it (its `opts/mount.go`).
pub(super) fn mount(text: &str) -> Parsed {
    let mut mount = json!({ "Type": "volume" });
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        let switches = ["readonly", "ro", "volume-nocopy", "bind-nonrecursive"];
        if value.is_none() && !switches.contains(&key.as_str()) {
            // A piece of a password with a comma in it, perhaps: it is not quoted.
            return Err("KEY=VALUE fields; one with a comma in its value stands in double quotes".to_owned());
        }
        mount_field(&mut mount, &key, value)?;
    }
    check_mount(&mount)?;
    Ok(mount)
}

fn mount_field(mount: &mut Value, key: &str, value: Option<&str>) -> Result<(), String> {
    let text = value.unwrap_or_default();
    match key {
        "type" => {
            let kind = text.to_lowercase();
            if !["bind", "volume", "tmpfs", "npipe", "cluster", "image"].contains(&kind.as_str()) {
                return Err("a type that is bind, volume, tmpfs, npipe, cluster or image".to_owned());
            }
            mount["Type"] = json!(kind);
        }
        "source" | "src" if text.starts_with('.') => {
            return Err("a source that is absolute: Gantry has no folder to begin at".to_owned());
        }
        "source" | "src" => mount["Source"] = json!(text),
        "target" | "dst" | "destination" => mount["Target"] = json!(text),
        "readonly" | "ro" => mount["ReadOnly"] = truth(key, value)?,
        "consistency" => mount["Consistency"] = json!(text.to_lowercase()),
        key if key.starts_with("bind-") => bind_field(made(&mut mount["BindOptions"]), key, value)?,
        key if key.starts_with("volume-") => volume_field(made(&mut mount["VolumeOptions"]), key, value)?,
        "image-subpath" => mount["ImageOptions"]["Subpath"] = json!(text),
        "tmpfs-size" => {
            let bytes = number::bytes(text).ok_or("a tmpfs-size such as 64m")?;
            mount["TmpfsOptions"]["SizeBytes"] = json!(bytes);
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(text, 8).map_err(|_| "a tmpfs-mode such as 1770")?;
            mount["TmpfsOptions"]["Mode"] = json!(mode);
        }
        _ => return Err(NO_FIELD.to_owned()),
    }
    Ok(())
}

fn bind_field(options: &mut Value, key: &str, value: Option<&str>) -> Result<(), String> {
    match (key, value.unwrap_or_default()) {
        ("bind-propagation", value) => options["Propagation"] = json!(value.to_lowercase()),
        ("bind-nonrecursive", _) => options["NonRecursive"] = truth(key, value)?,
        ("bind-recursive", "enabled") => {}
        ("bind-recursive", "disabled") => options["NonRecursive"] = json!(true),
        ("bind-recursive", "writable") => options["ReadOnlyNonRecursive"] = json!(true),
        ("bind-recursive", "readonly") => options["ReadOnlyForceRecursive"] = json!(true),
        ("bind-recursive", _) => {
            return Err("bind-recursive to be enabled, disabled, writable or readonly".to_owned());
        }
        _ => return Err(NO_FIELD.to_owned()),
    }
    Ok(())
}

fn volume_field(options: &mut Value, key: &str, value: Option<&str>) -> Result<(), String> {
    let text = value.unwrap_or_default();
    let set = |target: &mut Value| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if !name.is_empty() {
            target[name] = json!(value);
        }
    };
    match key {
        "volume-nocopy" => options["NoCopy"] = truth(key, value)?,
        "volume-subpath" => options["Subpath"] = json!(text),
        "volume-label" => set(made(&mut options["Labels"])),
        "volume-driver" => options["DriverConfig"]["Name"] = json!(text),
        "volume-opt" => set(made(&mut options["DriverConfig"]["Options"])),
        _ => return Err(NO_FIELD.to_owned()),
    }
    // An engine wants a driver wherever there are options of a volume.
    made(&mut options["DriverConfig"]);
    Ok(())
}

/// What cannot go together in a mount.
fn check_mount(mount: &Value) -> Result<(), String> {
    let text = |key: &str| mount.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("Target").is_empty() {
        return Err("a target".to_owned());
    }
    for (options, kind) in [
        ("VolumeOptions", "volume"),
        ("ImageOptions", "image"),
        ("BindOptions", "bind"),
        ("TmpfsOptions", "tmpfs"),
    ] {
        if mount.get(options).is_some() && text("Type") != kind {
            return Err(format!("{kind}-* options on a mount of type={kind} only"));
        }
    }
    let bind = |key: &str| mount.get("BindOptions").and_then(|options| options.get(key));
    let is_read_only = mount.get("ReadOnly").is_some_and(|it| it == true);
    let (is_writable, is_forced) =
        (bind("ReadOnlyNonRecursive").is_some(), bind("ReadOnlyForceRecursive").is_some());
    if (is_writable || is_forced) && !is_read_only {
        return Err("readonly beside this bind-recursive".to_owned());
    }
    if is_forced && bind("Propagation").is_none_or(|propagation| propagation != "rprivate") {
        return Err("bind-propagation=rprivate beside bind-recursive=readonly".to_owned());
    }
    Ok(())
}

/// `published=8080,target=80,protocol=tcp,mode=host`, or `8080:80/udp` with ranges; as a list.
pub(super) fn ports(text: &str) -> Parsed {
    if is_long(text) { long_port(text) } else { short_ports(text) }
}

fn long_port(text: &str) -> Parsed {
    let (mut target, mut published, mut protocol, mut mode) = (0, 0, "tcp".to_owned(), "ingress".to_owned());
    let number = |key: &str, value: &str| {
        value.parse::<u16>().map_err(|_| format!("{key} to be a port number up to 65535"))
    };
    for field in fields(text)? {
        let lower = field.to_lowercase();
        let (key, value) = pair(&lower)?;
        match (key.as_str(), value) {
            ("target", value) => target = number("target", value)?,
            ("published", value) => published = number("published", value)?,
            ("protocol", "tcp" | "udp" | "sctp") => value.clone_into(&mut protocol),
            ("protocol", _) => return Err("protocol to be tcp, udp or sctp".to_owned()),
            ("mode", "ingress" | "host") => value.clone_into(&mut mode),
            ("mode", _) => return Err("mode to be ingress or host".to_owned()),
            (key, _) => return Err(format!("no {key:?}, which no port has")),
        }
    }
    if target == 0 {
        return Err("a target".to_owned());
    }
    Ok(json!([port(&protocol, target, published, &mode)]))
}

fn port(protocol: &str, target: u16, published: u16, mode: &str) -> Value {
    json!({ "Protocol": protocol, "TargetPort": target, "PublishedPort": published, "PublishMode": mode })
}

fn short_ports(text: &str) -> Parsed {
    let expected = || PORTS.to_owned();
    let (rest, protocol) = match text.rsplit_once('/') {
        Some((rest, protocol)) => (rest, protocol.to_lowercase()),
        None => (text, "tcp".to_owned()),
    };
    let (before, target) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (address, published) = before.rsplit_once(':').unwrap_or(("", before));
    if !address.is_empty() {
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let is_address = address.parse::<IpAddr>().is_ok();
        return Err(if is_address {
            "no address: a service's ports are those of all nodes".to_owned()
        } else {
            expected()
        });
    }
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err("tcp, udp or sctp after the /".to_owned());
    }
    let targets = range(target).ok_or_else(expected)?;
    if published.is_empty() {
        return Ok(targets.map(|target| port(&protocol, target, 0, "ingress")).collect());
    }
    let published = range(published).ok_or_else(expected)?;
    let ports: Vec<Value> = if targets.len() == published.len() {
        targets
            .zip(published)
            .map(|(target, published)| port(&protocol, target, published, "ingress"))
            .collect()
    } else if let (Some(target), 1) = (targets.clone().next(), targets.len()) {
        published.map(|published| port(&protocol, target, published, "ingress")).collect()
    } else {
        return Err("ranges of the same length".to_owned());
    };
    Ok(Value::Array(ports))
}

/// `80` or `80-85`.
fn range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// `NAME`, or `name=NAME,alias=ALIAS,driver-opt=KEY=VALUE`; the name stands where its id will.
pub(super) fn network(text: &str) -> Parsed {
    if !is_long(text) {
        return if text.is_empty() { Err("a name".to_owned()) } else { Ok(json!({ "Target": text })) };
    }
    let (mut target, mut aliases, mut driver) = (String::new(), Vec::new(), Map::new());
    for field in fields(text)? {
        // The CLI takes all of it in lower case.
        let lower = field.to_lowercase();
        let (key, value) = pair(&lower)?;
        let value = value.trim();
        match key.trim() {
            "name" => value.clone_into(&mut target),
            "alias" => aliases.push(value.to_owned()),
            "driver-opt" => {
                let (key, value) = value.split_once('=').ok_or("driver-opt=KEY=VALUE")?;
                driver.insert(key.trim().to_owned(), json!(value.trim()));
            }
            // Known to `docker run`; a service's networks have none of them, and the CLI forgets them.
            "ip" | "ip6" | "mac-address" | "link-local-ip" | "gw-priority" => {}
            key => return Err(format!("no {key:?}, which no network of a service has")),
        }
    }
    if target.is_empty() {
        return Err("name=NAME".to_owned());
    }
    let mut network = json!({ "Target": target, "Aliases": aliases });
    if !driver.is_empty() {
        network["DriverOpts"] = Value::Object(driver);
    }
    Ok(network)
}

/// `NAME`, or `source=NAME,target=FILE,uid=0,gid=0,mode=0444`, of a secret or config.
pub(super) fn file_reference(text: &str, name_key: &str) -> Parsed {
    let (mut source, mut target, mut uid, mut gid, mut mode) =
        (String::new(), String::new(), "0".to_owned(), "0".to_owned(), 0o444);
    let fields = fields(text)?;
    match fields.as_slice() {
        [name] if !name.contains('=') => source.clone_from(name),
        fields => {
            for field in fields {
                let (key, value) = pair(field)?;
                match key.as_str() {
                    "source" | "src" => value.clone_into(&mut source),
                    "target" => value.clone_into(&mut target),
                    "uid" => value.clone_into(&mut uid),
                    "gid" => value.clone_into(&mut gid),
                    "mode" => {
                        let number = number::go_unsigned(value).filter(|mode| u32::try_from(*mode).is_ok());
                        mode = number.ok_or("mode to be a number such as 0400")?;
                    }
                    key => return Err(format!("no {key:?}: it has source, target, uid, gid and mode")),
                }
            }
        }
    }
    if source.is_empty() {
        return Err("a source".to_owned());
    }
    if target.is_empty() {
        target.clone_from(&source);
    }
    Ok(json!({ "File": { "Name": target, "UID": uid, "GID": gid, "Mode": mode }, name_key: source }))
}
