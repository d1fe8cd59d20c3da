//! The page of mistakes in the documentation is made from `ui/fail`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const PAGE: &str = "../cache-runtime/docs/mistakes.md";

const HEAD: &str = "\
<!-- Made from tests/ui/fail: see tests/it/mistakes.rs -->

Mistakes that do not compile, with the compiler's message for each.

Each of these is a test, so you will see exactly this message.
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
            "key_of_impl_trait",
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
            "hedge_",
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
        cases: &["value_", "impl_trait_result"],
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
        idea: "`prime`, `refresh` and `CachedEntry` take the call itself, without `.await`; `prime` takes \
               what the function caches.",
        cases: &["prime_"],
    },
];

#[test]
fn the_page_of_mistakes_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = page(&root.join("ui/fail"));
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

fn page(folder: &Path) -> String {
    let mut names: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
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
    let title = name.replace('_', " ");
    let (first, rest) = title.split_at(1);
    let first = first.to_uppercase();
    format!("\n## {first}{rest}\n\n```rust,compile_fail\n{source}\n```\n\n```text\n{says}\n```\n")
}
