//! Lists of hosts. Pure.

use super::value::Value;

/// A list of hosts.
pub(super) struct Hosts(pub(super) Vec<String>);

impl Value for Hosts {
    const EXPECTED: &'static str =
        "names or addresses of hosts, separated by commas, without http:// or https://";

    fn parse(text: &str) -> Result<Self, &'static str> {
        let separated = text.split(|c: char| c == ',' || c.is_whitespace());
        let hosts: Vec<String> = separated.filter(|host| !host.is_empty()).map(str::to_owned).collect();
        let is_of_host = |c: char| c.is_ascii_alphanumeric() || "-._:*[]".contains(c);
        let are_hosts = hosts.iter().all(|host| host.chars().all(is_of_host));
        are_hosts.then_some(Self(hosts)).ok_or(Self::EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_without_a_scheme() {
        let hosts = |text| Hosts::parse(text).map(|hosts| hosts.0.join(" "));
        assert_eq!(
            hosts("a.test, *.b.test:443 10.0.0.1,[fd00::1]:5"),
            Ok("a.test *.b.test:443 10.0.0.1 [fd00::1]:5".to_owned())
        );
        for text in ["https://a.test", "a/b", "a;b", "me@a.test"] {
            assert_eq!(hosts(text), Err(Hosts::EXPECTED), "{text}");
        }
    }
}
