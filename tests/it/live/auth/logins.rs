//! The logins of Gantry's own variables.

use super::super::support::{Gantry, JUERGEN, PULLER, PrivateRegistry, Stage, TokenServer};
use super::{fails_with, is_discreet, on_all_nodes, reached_all_nodes, without_tasks};

#[test]
fn one_login_in_variables_reaches_a_task_on_each_node_whatever_is_in_it() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let service = on_all_nodes(&stage, "app", &old, &JUERGEN, None);
    let new = private.push(&stage, "app", "2");

    let run = stage.cycle();
    fails_with(&run, &service, &["refuses access", "without credentials"]);
    let wrong = stage.gantry().set("GANTRY_REGISTRY_HOST", &private.host);
    let wrong =
        wrong.set("GANTRY_REGISTRY_USER", PULLER.user).set("GANTRY_REGISTRY_PASSWORD", "wrong-password");
    let run = wrong.run();
    let words = ["refuses access", "with credentials of puller from GANTRY_REGISTRY_PASSWORD"];
    fails_with(&run, &service, &words);
    assert_eq!(service.image(), old.name);

    // Its host may be written as a web address.
    let right = stage.gantry().set("GANTRY_REGISTRY_HOST", &format!("http://{}/v2/", private.host));
    let right = right.set("GANTRY_REGISTRY_USER", JUERGEN.user);
    let run = right.set("GANTRY_REGISTRY_PASSWORD", JUERGEN.password).run();
    reached_all_nodes(&run, &service, &new);
}

#[test]
fn each_part_of_a_login_may_be_in_a_file_and_one_that_cannot_be_read_is_named() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let service = on_all_nodes(&stage, "app", &old, &JUERGEN, Some("ours"));
    let unnamed = without_tasks(&stage, "unnamed", &old.name, None);
    let new = private.push(&stage, "app", "2");
    let mut gantry = stage.gantry();
    for (variable, text) in [
        ("GANTRY_REGISTRY_USER_FILE", JUERGEN.user),
        ("GANTRY_REGISTRY_PASSWORD_FILE", JUERGEN.password),
        ("GANTRY_REGISTRY_HOST_FILE", &private.host),
        ("GANTRY_REGISTRY_CONFIG_FILE", "ours"),
    ] {
        let file = stage.write(&format!("secrets/{variable}"), &format!("{text}\n"));
        gantry = gantry.set(variable, &file.display().to_string());
    }
    let without = |variable: &str| {
        let missing = format!("/run/secrets/no-such-{variable}");
        (gantry.clone().set(variable, &missing).run(), missing)
    };
    for variable in
        ["GANTRY_REGISTRY_USER_FILE", "GANTRY_REGISTRY_PASSWORD_FILE", "GANTRY_REGISTRY_HOST_FILE"]
    {
        let (run, missing) = without(variable);
        assert_eq!(run.code, Some(1), "{run}");
        assert!(run.says(&[&format!("{variable}={missing}"), "No such file"]), "{run}");
        assert_eq!(service.image(), old.name);
        is_discreet(&run);
    }

    let run = gantry.run();
    // The only login for a registry is for all its services.
    assert_eq!(unnamed.image(), new.pinned(), "{run}");
    reached_all_nodes(&run, &service, &new);
}

#[test]
fn the_only_login_for_a_registry_is_for_all_its_services_also_with_a_name() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let service = on_all_nodes(&stage, "app", &old, &JUERGEN, Some("ours"));
    let unnamed = without_tasks(&stage, "unnamed", &old.name, None);
    let other = without_tasks(&stage, "other", &old.name, Some("another"));
    let new = private.push(&stage, "app", "2");

    let gantry =
        stage.gantry().set("GANTRY_REGISTRY_CONFIG", "ours").set("GANTRY_REGISTRY_HOST", &private.host);
    let gantry = gantry.set("GANTRY_REGISTRY_USER", JUERGEN.user);
    let run = gantry.set("GANTRY_REGISTRY_PASSWORD", JUERGEN.password).run();

    assert_eq!(unnamed.image(), new.pinned(), "{run}");
    fails_with(&run, &other, &["gantry.auth.config=\"another\"", "the name of a login (ours)"]);
    reached_all_nodes(&run, &service, &new);
}

#[test]
fn of_several_logins_the_one_named_like_the_default_folder_needs_no_label() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let service = without_tasks(&stage, "app", &old.name, None);
    let new = private.push(&stage, "app", "2");
    let default = stage.folder.path().join(".docker").display().to_string();
    let line = |name: &str, password: &str| format!("{name} {} {} {password}\n", private.host, JUERGEN.user);
    let run =
        with_lines(&stage, &(line("other", "wrong-password") + &line(&default, JUERGEN.password))).run();
    assert_eq!(service.image(), new.pinned(), "{run}");
    is_discreet(&run);
}

/// With a file of logins.
fn with_lines(stage: &Stage, lines: &str) -> Gantry {
    let file = stage.write("logins", lines);
    stage.gantry().set("GANTRY_REGISTRY_CONFIGS_FILE", &file.display().to_string())
}

#[test]
fn a_file_of_logins_names_all_its_mistakes_by_line_and_works_once_they_are_gone() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let service = without_tasks(&stage, "app", &old.name, None);
    let new = private.push(&stage, "app", "2");
    let (host, user, password) = (&private.host, JUERGEN.user, JUERGEN.password);

    let lines =
        format!("# ours\nours {host} {user}\n\nother {host} {user} {password} two more\n{password}\n");
    let daemon = with_lines(&stage, &lines).set("GANTRY_SLEEP_SECONDS", "1").start();
    let told = daemon.wait_for("GANTRY_REGISTRY_CONFIGS_FILE", 30);
    for words in ["line 2: ", "found 3 words", "line 4: ", "found 6 words", "line 5: ", "found 1 word"] {
        assert!(told.message().contains(words), "{words}: {}", told.message());
    }
    assert_eq!(service.image(), old.name);
    // A failed cycle does not end the daemon, and the next one reads the file again.
    stage.write("logins", &format!("# ours\n\tours\t{host}  {user} {password}\r\n"));
    service.wait_for(&new, 30);
    is_discreet(&daemon.stop());
}

#[test]
fn a_login_of_the_file_is_used_only_for_what_its_fifth_word_names() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let own = without_tasks(&stage, "own", &old.name, Some("ours"));
    let unnamed = without_tasks(&stage, "unnamed", &old.name, None);
    let stolen = without_tasks(&stage, "stolen", &old.name, Some("ours"));
    let new = private.push(&stage, "app", "2");
    let line = format!("ours {} {} {} *own,*unnamed\n", private.host, JUERGEN.user, JUERGEN.password);
    let run = with_lines(&stage, &line).run();
    assert_eq!((own.image(), unnamed.image()), (new.pinned(), new.pinned()), "{run}");
    fails_with(&run, &stolen, &["gantry.auth.config=\"ours\"", "not for this service or its image"]);
    assert_eq!(stolen.image(), old.name);
    // By its image all of them may.
    let image = old.name.rsplit_once(':').unwrap().0;
    let line = format!("ours {} {} {} {image}\n", private.host, JUERGEN.user, JUERGEN.password);
    let run = with_lines(&stage, &line).run();
    assert_eq!(stolen.image(), new.pinned(), "{run}");
    is_discreet(&run);
}

#[test]
fn the_login_of_the_variables_is_used_only_for_what_they_name() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let own = without_tasks(&stage, "own", &old.name, None);
    let other = without_tasks(&stage, "other", &old.name, None);
    let gantry = stage.gantry().set("GANTRY_REGISTRY_HOST", &private.host);
    let gantry =
        gantry.set("GANTRY_REGISTRY_USER", JUERGEN.user).set("GANTRY_REGISTRY_PASSWORD", JUERGEN.password);
    let file = stage.write("services", "*own\n").display().to_string();
    let variables = [("GANTRY_REGISTRY_SERVICES", "*own"), ("GANTRY_REGISTRY_SERVICES_FILE", &file)];
    for (version, (variable, value)) in (2..).zip(variables) {
        let new = private.push(&stage, "app", &version.to_string());
        let run = gantry.clone().set(variable, value).run();
        assert_eq!(own.image(), new.pinned(), "{run}");
        fails_with(
            &run,
            &other,
            &["refuses access", "without credentials", "are for other services or images"],
        );
        assert_eq!(other.image(), old.name);
    }
}

#[test]
fn of_several_accounts_at_one_registry_the_label_names_the_one_to_use() {
    let stage = Stage::new();
    let tokens = TokenServer::start(&stage, &[(PULLER, "-"), (JUERGEN, "-")]);
    let private = PrivateRegistry::with_tokens(&stage, &tokens);
    let old = private.push(&stage, "puller", "1");
    let own = on_all_nodes(&stage, "own", &old, &PULLER, Some("one"));
    let wrong = without_tasks(&stage, "wrong", &old.name, Some("two"));
    let unknown = without_tasks(&stage, "unknown", &old.name, Some("three"));
    let unnamed = without_tasks(&stage, "unnamed", &old.name, None);
    let new = private.push(&stage, "puller", "2");
    let host = &private.host;
    let line = |name: &str, account: super::Account| {
        format!("{name} {host} {} {}\n", account.user, account.password)
    };

    let run = with_lines(&stage, &(line("one", PULLER) + &line("two", JUERGEN))).run();

    reached_all_nodes(&run, &own, &new);
    fails_with(&run, &wrong, &["refuses access", "with credentials of jürgen", "logins, line 2"]);
    fails_with(&run, &unknown, &["gantry.auth.config=\"three\"", "the name of a login (one, two)"]);
    let chosen = "there are logins for it, which the label gantry.auth.config=one or two chooses";
    fails_with(&run, &unnamed, &["refuses access", "without credentials", chosen]);
    assert!(run.says(&["more than one login", "gantry.auth.config"]), "{run}");
    // The nodes asked in nobody else's name.
    let asked = tokens.asked();
    assert!(
        asked
            .iter()
            .filter(|asked| !asked.is_gantry)
            .all(|asked| ["puller", ""].contains(&asked.user.as_str()))
    );
}
