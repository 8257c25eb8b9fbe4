//! The known name that the user probably meant. Pure.

use crate::words::piece;

/// What to do when none is near.
const UNKNOWN_REMEDY: &str = "gantry --help lists them all";

/// How many unknown names are told one by one. Each is compared with all known names.
const MOST_UNKNOWN: usize = 10;

/// A warning for each name that is not a known `kind` (variable, label), with the known name that was probably meant. Of
/// many names, one more warning counts the rest.
pub(crate) fn unknown_names<T: AsRef<str>>(
    unknown: &[T],
    prefix: &str,
    kind: &str,
    known: &[&str],
) -> Vec<String> {
    let warning = |name: &T| {
        let shown = piece(name.as_ref());
        match nearest(name.as_ref(), prefix, known.iter().copied()) {
            Some(known) => format!("{shown} is not a {kind} of Gantry; did you mean {known}?"),
            None => format!("{shown} is not a {kind} of Gantry; {UNKNOWN_REMEDY}"),
        }
    };
    let more = unknown.len().saturating_sub(MOST_UNKNOWN);
    let more = (more > 0).then(|| format!("{more} more names are no {kind}s of Gantry; {UNKNOWN_REMEDY}"));
    unknown.iter().take(MOST_UNKNOWN).map(warning).chain(more).collect()
}

/// The known name nearest to `name`, unless they have too little in common to be worth a mention.
/// `prefix` is what all of them begin with; it says nothing about what was meant.
pub(crate) fn nearest<'a>(name: &str, prefix: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a long one is not a slip, and comparing takes the product of the lengths.
    const LONGEST_CHARS: usize = 100;
    if name.chars().count() > LONGEST_CHARS {
        return None;
    }
    let distinctive = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase();
    let name = distinctive(name);
    let similar = |known: &str| {
        let known = distinctive(known);
        let slips = strsim::normalized_damerau_levenshtein(&name, &known);
        // A word left out (UPDATE_WORKERS) is one slip, however long the word. Of several such names, the shortest word counts.
        (slips.max(if has_words_of(&known, &name) { 0.8 } else { 0.0 }), slips)
    };
    let rated = known.map(|known| (similar(known), known)).filter(|((similarity, _), _)| *similarity >= 0.6);
    rated.max_by(|(a, _), (b, _)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))).map(|(_, known)| known)
}

/// Whether `whole` has all the words of `part`, in their order, and there are at least two of them.
fn has_words_of(whole: &str, part: &str) -> bool {
    let words = |name: &str| -> Vec<String> { name.split(['_', '.', '-']).map(str::to_owned).collect() };
    let mut whole = words(whole).into_iter();
    let part = words(part);
    part.len() >= 2 && part.iter().all(|word| whole.any(|w| w == *word))
}
