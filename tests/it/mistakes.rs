//! The page of mistakes in the documentation is made from `ui/fail` and `it/findings`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cache_runtime::registry;

const PAGE: &str = "../cache-runtime/docs/mistakes.md";

const HEAD: &str = "\
<!-- Made from tests/ui/fail and tests/it/findings: see tests/it/mistakes.rs -->

Mistakes that are caught. Most of them [do not compile](#templates). Those that only two functions
together show are [found by one test](#between-functions). The rest is
[reported by the running program](#while-the-program-runs).

Each of these is a test, so you will see exactly this message.
";

const BETWEEN_FUNCTIONS: &str = "
# Between functions

An attribute sees one function. [`registry::check`](crate::registry::check()), in one test of yours, sees
all of them. Of a program without annotated functions it says that too, with the line of code that links
the crate which has them.
";

const WHILE_RUNNING: &str = "
# While the program runs

These are reported once a function: as an event, and in the log with the function's path and what to write
instead. No caller is served a wrong value.

| mistake | what happens | reported as |
|---|---|---|
| A function is called for several types, and its key [names none](macro@crate::cached#types). | The first type is cached. Calls for another one run uncached. | [`Event::OtherType`](crate::Event::OtherType), an error in the log |
| Two functions, or two versions of the program, store values of two types under one key. | An entry of another type is a miss, and is replaced. | [`Event::OtherType`](crate::Event::OtherType), a warning |
| A function that is given a transaction is called [outside of `after_commit`](crate::transactions#a-transaction-outside-of-a-scope). | What it would invalidate is invalidated once more later. What it reads is not cached. | [`Event::OutsideOfCommit`](crate::Event::OutsideOfCommit), a warning |
| A value cannot be encoded, or what is stored cannot be decoded. | The value is returned, and not stored; the entry is a miss. | [`Event::NotFilled`](crate::Event::NotFilled), [`Event::Degrade`](crate::Event::Degrade), an error or a warning |
| [`refresh`](crate::refresh()) is given a future that calls no cached function. | The future is awaited, and nothing is refreshed. | a warning |
| [`prime`](crate::prime) or [`CachedEntry::of`](crate::CachedEntry::of) is given such a future. | Nothing is stored. | [`Error::is_call`](crate::Error::is_call) |
";

struct Chapter {
    title: &'static str,
    idea: &'static str,
    /// How the names of its cases begin. The longest beginning that fits decides.
    cases: &'static [&'static str],
}

const CHAPTERS: &[Chapter] = &[
    Chapter {
        title: "Templates",
        idea: "A template is a string literal. Literal text in it must not look like a value in \
               a finished key.",
        cases: &["template_", "braces", "key_"],
    },
    Chapter {
        title: "Placeholders and parameters",
        idea: "Every placeholder names a parameter, and every parameter is in the key or \
               in `skip`.",
        cases: &[
            "unknown_placeholder",
            "parameter_",
            "type_parameter_",
            "binding_",
            "typed_tag_",
            "wildcard_",
            "self_",
            "skip_",
            "field_of_a_type",
            "result_in_key",
            "key_of_impl_",
        ],
    },
    Chapter {
        title: "Types in keys",
        idea: "The type of a value in a key implements `KeyPart`. A type can have a name of its own, \
               which stands in keys among the paths of other types.",
        cases: &["key_part_", "key_name_"],
    },
    Chapter {
        title: "Options",
        idea: "The compiler reports all mistakes of one attribute at once.",
        cases: &[
            "unknown_option",
            "option_",
            "repeated_option",
            "missing_",
            "key_without_name",
            "ttl_",
            "none_ttl_",
            "local_",
            "hedge_",
            "stale_",
            "retry_after_",
            "detach_",
            "handle_",
            "condition_",
            "unless_",
            "version_",
            "codec_",
            "cache_not_a_cache",
            "cache_defaults_",
            "crate_",
            "several_mistakes",
            "half_typed_",
        ],
    },
    Chapter {
        title: "Functions",
        idea: "An attribute goes on a function that has a body, and is async or returns a future.",
        cases: &[
            "not_",
            "const_",
            "no_body",
            "body_",
            "future_",
            "async_trait_",
            "cached_and_",
            "cached_twice",
            "invalidated_and_cached",
            "invalidate_not_async",
        ],
    },
    Chapter {
        title: "Return types",
        idea: "A cached value owns its data, and can be cloned and serialized.",
        cases: &[
            "value_",
            "local_not_sync",
            "impl_trait_result",
            "stream_result",
        ],
    },
    Chapter {
        title: "Several keys in one call",
        idea: "A function with `each` takes a list of elements, and returns a collection of what they have.",
        cases: &["each_", "by_without_each"],
    },
    Chapter {
        title: "Tags",
        idea: "A tag is a template, or a value of a type that implements `CacheTag`. Each field of \
               such a type is in its template, or marked with `#[cache_tag(skip)]`.",
        cases: &["cache_tag_", "tag_of_", "invalidate_on_"],
    },
    Chapter {
        title: "Invalidation",
        idea: "`#[cache_invalidate]` names keys and tags, made from arguments or from the result.",
        cases: &[
            "invalidate_",
            "invalidate_on_err",
            "invalidate_on_something_else",
            "no_such_field",
        ],
    },
    Chapter {
        title: "By hand",
        idea: "A name is text, a `Key` or a tag; several stand in an array or another iterator. `prime`, `refresh` \
               and `CachedEntry` take the call itself, without `.await`; `prime` takes what the function caches.",
        cases: &["by_hand_", "prime_"],
    },
];

#[test]
fn the_page_of_mistakes_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = page(root);
    let path = root.join(PAGE);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, page).unwrap();
        return;
    }
    assert!(
        fs::read_to_string(path).is_ok_and(|committed| committed == page),
        "cache-runtime/docs/mistakes.md differs from tests/ui/fail; to write it again:\n\n    \
         UPDATE=1 cargo test -p cache-tests --test it the_page_of_mistakes\n"
    );
}

/// The names of the Rust files in a folder, without their ends.
fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn page(root: &Path) -> String {
    let folder = &root.join("ui/fail");
    let names = files(folder);
    let mut page = HEAD.to_owned();
    for chapter in CHAPTERS {
        let Chapter { title, idea, .. } = chapter;
        write!(page, "\n# {title}\n\n{idea}\n").unwrap();
        for name in &names {
            if chapter_of(name).title == *title {
                page.push_str(&case(folder, name));
            }
        }
    }
    page.push_str(BETWEEN_FUNCTIONS);
    let folder = root.join("it/findings");
    for name in files(&folder).iter().filter(|name| *name != "mod") {
        page.push_str(&finding(&folder, name));
    }
    page.push_str(WHILE_RUNNING);
    page
}

fn chapter_of(name: &str) -> &'static Chapter {
    let fit = |chapter: &Chapter| {
        let cases = chapter.cases.iter();
        let fits = cases.filter(|case| name.starts_with(**case));
        fits.map(|case| case.len()).max()
    };
    let chapter = CHAPTERS.iter().max_by_key(|chapter| fit(chapter)).unwrap();
    assert!(
        fit(chapter).is_some(),
        "ui/fail/{name}.rs is in no chapter; add it to one in tests/it/mistakes.rs"
    );
    chapter
}

fn case(folder: &Path, name: &str) -> String {
    let source = fs::read_to_string(folder.join(name).with_extension("rs")).unwrap();
    let source = source
        .trim_end()
        .trim_end_matches("fn main() {}")
        .trim_end();
    let says = fs::read_to_string(folder.join(name).with_extension("stderr")).unwrap();
    let says = says.replace(&format!("ui/fail/{name}.rs"), "src/lib.rs");
    let says = says.trim_end();
    section(name, "rust,compile_fail", source, says)
}

fn finding(folder: &Path, name: &str) -> String {
    let file = format!("{name}.rs");
    let source = fs::read_to_string(folder.join(&file)).unwrap();
    let path = format!("tests/it/findings/{file}");
    let findings = registry::check().expect_err("this program has mistakes on purpose");
    let mut findings = findings.iter().map(ToString::to_string);
    let says = findings.find(|finding| finding.contains(&path));
    let says = says.unwrap_or_else(|| panic!("nothing is found in {path}"));
    let others = findings.filter(|finding| finding.contains(&path)).count();
    assert_eq!(others, 0, "one mistake is in {path}");
    let says = says.replace(&path, "src/lib.rs");
    let says = says.replace(&format!("it::findings::{name}::"), "app::");
    section(name, "rust,no_run", source.trim_end(), &says)
}

fn section(name: &str, language: &str, source: &str, says: &str) -> String {
    let title = name.replace('_', " ");
    let (first, rest) = title.split_at(1);
    let first = first.to_uppercase();
    format!("\n## {first}{rest}\n\n```{language}\n{source}\n```\n\n```text\n{says}\n```\n")
}
