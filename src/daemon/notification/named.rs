//! The addresses that a configuration names, also in the file of `GANTRY_NOTIFICATION_URL_FILE`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::config::{Destination, Loaded, Mistake, Mistakes, Notification, NotificationUrls};

/// The variable that names the file.
const VARIABLE: &str = "GANTRY_NOTIFICATION_URL_FILE";

/// How much of the file is read, in bytes.
const MOST: u64 = 64 * 1024;

/// The addresses that a configuration names.
#[derive(Debug, Default)]
pub(super) struct AddressList {
    /// The addresses that can be used.
    pub(super) list: Vec<Destination>,
    /// What is wrong with the file, or with addresses in it.
    pub(super) mistakes: Vec<String>,
}

/// The addresses that a configuration names now.
pub(super) async fn of(notification: &Notification) -> AddressList {
    let apprise = notification.apprise_url.iter().cloned().map(Destination::apprise);
    let mut named = match &notification.urls {
        None => AddressList::default(),
        Some(NotificationUrls::Given(list)) => AddressList { list: list.clone(), mistakes: Vec::new() },
        Some(NotificationUrls::File(path)) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || in_file(&path));
            read.await
                .unwrap_or_else(|error| AddressList { list: Vec::new(), mistakes: vec![error.to_string()] })
        }
    };
    named.list.splice(0..0, apprise);
    named
}

/// The addresses in a file.
fn in_file(path: &Path) -> AddressList {
    match contents(path) {
        Ok(text) => {
            let (list, mistakes) = Destination::read_all(&text);
            AddressList { list, mistakes }
        }
        Err(cause) => AddressList { list: Vec::new(), mistakes: vec![cause] },
    }
}

fn contents(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > MOST {
        return Err(format!("{} has more than {MOST} bytes", path.display()));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))
}

/// Adds the mistakes in the file of addresses to the mistakes of the configuration, so that all are told at once.
///
/// # Errors
/// The mistakes of both.
pub fn checked(loaded: Result<Loaded, Mistakes>) -> Result<Loaded, Mistakes> {
    let path = |notification: &Notification| -> Option<PathBuf> {
        match &notification.urls {
            Some(NotificationUrls::File(path)) => Some(path.clone()),
            _ => None,
        }
    };
    match loaded {
        Ok(loaded) => match path(&loaded.config.notification).and_then(|path| mistake(&path)) {
            Some(mistake) => Err(Mistakes::in_files(loaded.config, vec![mistake])),
            None => Ok(loaded),
        },
        Err(mut mistakes) => {
            mistakes.list.extend(path(&mistakes.notification).and_then(|path| mistake(&path)));
            Err(mistakes)
        }
    }
}

/// What is wrong with a file of addresses.
fn mistake(path: &Path) -> Option<Mistake> {
    let mistakes = in_file(path).mistakes;
    let expected = "a file with addresses, as GANTRY_NOTIFICATION_URL has them";
    let mistake = || {
        Mistake::new(VARIABLE, &path.display().to_string(), format!("{expected}; {}", mistakes.join("; ")))
    };
    (!mistakes.is_empty()).then(mistake)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn load(path: &Path, more: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
        let file = [(VARIABLE.into(), path.into())];
        let more = more.iter().map(|(name, value)| (name.into(), value.into()));
        checked(Config::load(file.into_iter().chain(more)))
    }

    #[test]
    fn mistakes_in_the_file_are_told_with_all_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("addresses");
        let told = |more: &[(&str, &str)]| {
            let folder = folder.path().display().to_string();
            load(&path, more).map_err(|mistakes| mistakes.to_string().replace(&folder, "FOLDER"))
        };
        let missing = told(&[]).unwrap_err();
        std::fs::write(&path, "https://hush.test/hush\nhush+https://hush.test\n").unwrap();
        let wrong = [told(&[]).unwrap_err(), told(&[("GANTRY_SLEEP_SECONDS", "soon")]).unwrap_err()];
        std::fs::write(&path, "\n").unwrap();
        let empty = told(&[]).unwrap_err();
        let all = [&[missing][..], &wrong, &[empty]].concat().join("\n");
        assert!(!all.contains("hush"), "{all}");
        insta::assert_snapshot!(all);
        std::fs::write(&path, "https://hush.test/hush").unwrap();
        assert!(told(&[]).is_ok());
        std::fs::write(&path, " ".repeat(70_000)).unwrap();
        assert!(told(&[]).unwrap_err().contains("has more than 65536 bytes"));
    }

    #[tokio::test]
    async fn the_file_is_read_for_each_message_and_a_wrong_address_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("addresses");
        std::fs::write(&path, "https://a.test").unwrap();
        let notification =
            load(&path, &[("GANTRY_NOTIFICATION_APPRISE_URL", "http://b.test")]).unwrap().config.notification;
        let shown = |named: &AddressList| named.list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let named = of(&notification).await;
        let (apprise, first) =
            ("GANTRY_NOTIFICATION_APPRISE_URL", "GANTRY_NOTIFICATION_URL, address 1: https://a.test");
        assert_eq!((shown(&named), named.mistakes.len()), (vec![apprise.to_owned(), first.to_owned()], 0));
        std::fs::write(&path, "nonsense smtp://c.test?from=a@a.test&to=b@b.test").unwrap();
        let named = of(&notification).await;
        let second = "GANTRY_NOTIFICATION_URL, address 2: smtp://c.test";
        assert_eq!((shown(&named), named.mistakes.len()), (vec![apprise.to_owned(), second.to_owned()], 1));
    }
}
