//! The tags of a repository, page by page.
//!
//! Registries differ in what a page is: some send everything at once, some send 100 tags, some refuse a size. Only their own `Link`
//! tells where the next page is. A list that breaks off is an error: a short list would say "up to date" for ever.

use std::collections::HashSet;

use reqwest::header::LINK;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Deserializer};

use super::HttpRegistry;
use super::answer::RegistryAnswer;
use super::bounded::{List, too_many};
use super::call::Call;
use super::client::unexpected;
use super::endpoints::Scheme;
use super::failure::Failure;
use super::link;
use crate::image::is_tag;

/// How many tags a page should have. More is an error at some registries (ECR).
const PAGE: usize = 1000;

/// The most pages that are read.
const MOST_PAGES: usize = 50;

/// The most tags that a repository may have.
const MOST_TAGS: usize = 100_000;

/// A page as registries send it. `null` stands for no tags.
#[derive(Deserialize)]
struct PageJson {
    #[serde(deserialize_with = "nullable")]
    tags: Vec<String>,
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let tags: Option<List<String, MOST_TAGS>> = Option::deserialize(deserializer)?;
    Ok(tags.map(|tags| tags.0).unwrap_or_default())
}

/// The tags of a page.
pub(super) fn read(body: &[u8]) -> Result<Vec<String>, String> {
    let page: PageJson = serde_json::from_slice(body).map_err(|error| match too_many(&error) {
        Some(most) => format!("its tag list has more than {most} tags"),
        None => format!("its tag list cannot be read ({error})"),
    })?;
    Ok(page.tags)
}

/// What was read of a list so far.
#[derive(Default)]
struct TagPages {
    /// All tags; what is no tag is left out.
    tags: HashSet<String>,
    /// The addresses of all pages.
    paths: HashSet<String>,
}

impl TagPages {
    /// Takes a page.
    ///
    /// # Errors
    /// The page brings nothing but what the pages before have brought, or there are too many tags.
    fn take(&mut self, page: Vec<String>) -> Result<(), Failure> {
        let is_first = self.tags.is_empty();
        let (sent, known) = (page.len(), self.tags.len());
        self.tags.extend(page.into_iter().filter(|tag| is_tag(tag)));
        if !is_first && sent > 0 && self.tags.len() == known {
            return Err(Failure::nonsense("it repeats what the pages before have said"));
        }
        if self.tags.len() > MOST_TAGS {
            return Err(Failure::nonsense(format!("its tag list has more than {MOST_TAGS} tags")));
        }
        Ok(())
    }

    /// Goes on to the page at `path`.
    fn go_to(&mut self, path: &str) -> Result<(), Failure> {
        if self.paths.len() == MOST_PAGES {
            return Err(Failure::nonsense(format!("its tag list has more than {MOST_PAGES} pages")));
        }
        if self.paths.insert(path.to_owned()) {
            Ok(())
        } else {
            Err(Failure::nonsense("its Link leads back to a page that was read already"))
        }
    }
}

impl HttpRegistry {
    /// All tags of the call's repository, sorted.
    pub(super) async fn tags_at(&self, call: &Call) -> Result<Vec<String>, Failure> {
        let mut pages = TagPages::default();
        let mut next = Some(format!("{}/tags/list?n={PAGE}", call.repository));
        while let Some(path) = next {
            let number = pages.paths.len() + 1;
            next = match self.page(call, &path, &mut pages).await {
                Ok(next) => next,
                Err(failure) if number == 1 => return Err(failure),
                Err(failure) => {
                    let list = format!("the tag list of {}/{}", call.endpoint.host, call.repository);
                    return Err(failure.of_page(&list, number));
                }
            };
        }
        let mut tags: Vec<String> = pages.tags.into_iter().collect();
        tags.sort_unstable();
        Ok(tags)
    }

    /// Reads one page. Returns the path of the next one.
    async fn page(&self, call: &Call, path: &str, pages: &mut TagPages) -> Result<Option<String>, Failure> {
        let is_first = pages.paths.is_empty();
        pages.go_to(path)?;
        let mut answer = self.ask(call, &Method::GET, path, "application/json").await?;
        if is_first && is_size_refused(&answer) {
            let without_size = format!("{}/tags/list", call.repository);
            answer = self.ask(call, &Method::GET, &without_size, "application/json").await?;
        }
        pages.take(read(list_body(&answer)?).map_err(Failure::nonsense)?)?;
        let links = answer.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let Some(target) = link::target(links) else { return Ok(None) };
        let scheme = if answer.url.scheme() == "http" { Scheme::Http } else { Scheme::Https };
        let base = call.endpoint.url(scheme, "").ok_or_else(|| Failure::nonsense("it has no address"))?;
        link::below(&base, &answer.url, target).map(Some).map_err(Failure::nonsense)
    }
}

/// The body of an answer that should be a list.
fn list_body(answer: &RegistryAnswer) -> Result<&[u8], Failure> {
    match answer.status {
        StatusCode::OK if answer.is_html() => {
            Err(Failure::nonsense("it sends a web page (text/html) where a tag list should be"))
        }
        StatusCode::OK => Ok(&answer.body),
        _ => Err(unexpected(answer)),
    }
}

/// Whether a registry does not take the size of a page.
fn is_size_refused(answer: &RegistryAnswer) -> bool {
    let is_unsupported = || String::from_utf8_lossy(&answer.body).contains("\"UNSUPPORTED\"");
    match answer.status {
        StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => true,
        StatusCode::OK | StatusCode::NOT_FOUND => false,
        _ => is_unsupported(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_an_object_with_a_list_of_texts() {
        assert_eq!(read(br#"{"name":"a","tags":["1","2"]}"#), Ok(vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(read(br#"{"name":"a","tags":null}"#), Ok(Vec::new()));
        for wrong in ["", "{}", "[]", "null", r#"{"tags":"1"}"#, r#"{"tags":[1]}"#, r#"{"tags":{"a":1}}"#] {
            assert!(read(wrong.as_bytes()).is_err_and(|words| words.contains("cannot be read")), "{wrong}");
        }
        let many = format!(r#"{{"tags":[{}"1"]}}"#, "\"1\",".repeat(MOST_TAGS));
        assert_eq!(read(many.as_bytes()), Err("its tag list has more than 100000 tags".to_owned()));
    }

    #[test]
    fn pages_may_overlap_and_not_repeat() {
        let page = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
        let mut pages = TagPages::default();
        assert!(pages.take(page(&["1", "2", "no tag", "-"])).is_ok());
        assert!(pages.take(page(&["2", "3"])).is_ok());
        assert!(pages.take(page(&[])).is_ok());
        assert_eq!(pages.tags.len(), 3);
        assert!(pages.take(page(&["2", "3"])).is_err());
    }
}
