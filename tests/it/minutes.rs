//! Whether `tests/minutes` keeps the exit code of the tests and puts each test into its layer.

use std::fs;
use std::process::{Command, Output};

fn minutes(arguments: &[&str]) -> Output {
    // A copy, so that the report of a run under way stays where it is.
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("minutes");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/minutes"), &script).unwrap();
    let report = folder.path().join("report.xml");
    fs::write(&report, REPORT).unwrap();
    let path = report.to_str().unwrap();
    let arguments = arguments.iter().map(|argument| if *argument == "REPORT" { path } else { argument });
    Command::new("bash").arg(&script).args(arguments).output().unwrap()
}

const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" time="90.5">
    <testsuite name="gantry::it" tests="2">
        <testcase name="live::daemon::it_stops" classname="gantry::it" time="66.0">
            <system-out>&lt;testcase name="none" classname="gantry" time="600"</system-out>
        </testcase>
        <testcase name="contract::nodes::live::a_node_is_down" classname="gantry::it" time="30"/>
    </testsuite>
    <testsuite name="gantry" tests="1">
        <testcase name="cycle::plan::tests::live" classname="gantry" time="0.25"/>
    </testsuite>
</testsuites>
"#;

#[test]
fn the_exit_code_of_the_tests_stays() {
    for code in [0, 3, 100] {
        assert_eq!(minutes(&["sh", "-c", &format!("exit {code}")]).status.code(), Some(code));
    }
}

#[test]
fn each_layer_has_its_minutes() {
    let output = minutes(&["--of", "REPORT"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [["live", "2", "1.6"], ["unit", "1", "0.0"], ["wire", "0", "0.0"]] {
        assert!(rows.contains(&row.to_vec()), "{row:?} in {text}");
    }
    let slowest = text.split("The slowest ten tests:\n").nth(1).unwrap();
    assert!(slowest.trim_start().starts_with("66.0 s  live::daemon::it_stops\n"), "{slowest}");
    assert_eq!(slowest.lines().count(), 3);
}
