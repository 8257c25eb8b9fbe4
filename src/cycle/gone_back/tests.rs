use super::*;

#[test]
fn each_time_a_tag_goes_back_it_has_to_stand_there_longer() {
    let minutes: Vec<u64> = (0..5).map(|flips| wait(flips).as_secs() / 60).collect();
    assert_eq!(minutes, [5, 30, 180, 1080, 1440]);
    assert_eq!(wait(u32::MAX), LONGEST_WAIT);
}

#[test]
fn a_doubt_says_until_when_it_lasts() {
    let doubt = Doubt {
        digest: format!("sha256:{}", "ab".repeat(32)).parse().unwrap(),
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
        wait: wait(0),
    };
    insta::assert_snapshot!(doubt, @"the tag has gone back to abababababab; services follow when it still stands there at 2026-01-02T03:09:05Z");
}
