//! Programs that agree, and programs that do not.

use super::check::Program;
use super::{Finding, Findings, Function, NamedType, OwnName, Registered, Role, Template};
use crate::call::site::CallSite;

/// A function of `src/users.rs`: its name, its line, what it does and its settings.
macro_rules! function {
    ($path:literal, $line:literal, $role:expr $(, $setting:ident($value:expr))* $(,)?) => {
        Registered::Function(
            &Function::new($path, "src/users.rs", $line, $role)$(.$setting($value))*
        )
    };
}

const fn user(id: &'static str, types: &'static [&'static str]) -> Template {
    Template::new(id, types)
}

fn findings(registered: &'static [Registered]) -> Vec<Finding> {
    Program::new(registered).findings()
}

fn report(registered: &'static [Registered]) -> String {
    Findings::or_nothing(findings(registered))
        .map_or_else(|findings| findings.to_string(), |()| String::new())
}

/// Which tags a value tells is not known, so a name may be one of them.
#[test]
fn a_name_that_a_value_may_tell_reaches_a_function() {
    let find = |cache| {
        let find = Function::new(
            "find",
            "src/a.rs",
            1,
            caches(Template::new("page:<n>", &["u64"])),
        );
        if cache { find.cache("MINE") } else { find }
    };
    let names: &'static [Template] = Box::leak(Box::new([Template::typed("IssueTag")]));
    let change = Function::new("change", "src/a.rs", 2, Role::invalidates(names));
    let unused = ["unused invalidation IssueTag change"];
    assert_eq!(ids_of([find(false), change]), unused);
    assert!(ids_of([find(false).tags_of_value(), change]).is_empty());
    // Not in another cache.
    assert_eq!(ids_of([find(true).tags_of_value(), change]), unused);
    // Functions that share a key have the same tags, or none of them tells some.
    let other = Function {
        path: "other",
        ..find(false)
    };
    assert_eq!(
        ids_of([find(false).tags_of_value(), other]),
        ["tags page:<n> find, other"]
    );
    assert!(ids_of([find(false).tags_of_value(), other.tags_of_value()]).is_empty());
}

/// The ids of what is found in a program that reads by the first template and invalidates by the
/// second.
fn ids(read: Template, invalidated: Template) -> Vec<String> {
    let read = Function::new("find", "src/a.rs", 1, caches(read));
    let names: &'static [Template] = Box::leak(Box::new([invalidated]));
    let write = Function::new("change", "src/a.rs", 2, Role::invalidates(names));
    ids_of([read, write])
}

fn ids_of(functions: impl IntoIterator<Item = Function>) -> Vec<String> {
    let functions = functions.into_iter();
    let registered: Vec<_> = functions
        .map(|function| Registered::Function(Box::leak(Box::new(function))))
        .collect();
    let findings = findings(registered.leak());
    findings
        .iter()
        .map(|finding| finding.id().to_owned())
        .collect()
}

fn caches(key: Template) -> Role {
    Role::caches(key, "User", &[])
}

#[track_caller]
fn assert_report(registered: &'static [Registered], expected: &str) {
    assert_eq!(report(registered), expected);
}

#[test]
fn functions_that_agree_are_not_reported() {
    static PROGRAM: &[Registered] = &[
        function!(
            "find",
            1,
            Role::caches(
                user("user:<id>", &["UserId"]),
                "User",
                &[Template::new("users", &[]), Template::typed("Team")],
            ),
        ),
        function!(
            "rename",
            2,
            Role::invalidates(&[user("user:<result.id>", &["_"]), user("user:<n>", &["i32"])]),
        ),
        function!(
            "clear",
            3,
            Role::invalidates(&[Template::new("team:<t>", &["String"])]),
        ),
        Registered::Newtype(NamedType::written("UserId"), NamedType::written("u64")),
        Registered::Tag("Team", Template::new("team:<0>", &["Box<str>"])),
        Registered::ByHand(Template::new("users", &[])),
    ];
    assert_report(PROGRAM, "");
}

#[test]
fn functions_that_share_a_key_must_share_types_tags_and_schema_versions() {
    static GENERIC: CallSite = CallSite::new(
        Function::new(
            "generic",
            "src/users.rs",
            3,
            Role::caches(user("user:<id>", &["u64"]), "_", &[Template::typed("_")]),
        )
        // The number counts, whatever the text says.
        .options(&["version = 7"]),
    )
    .schema(2);
    static PROGRAM: &[Registered] = &[
        function!(
            "find",
            1,
            Role::caches(user("user:<id>", &["u64"]), "User", &[]),
        ),
        function!(
            "member",
            2,
            Role::caches(
                user("user:<member>", &["u64"]),
                "Member",
                &[Template::typed("_")],
            ),
        ),
        Registered::Cached(&GENERIC),
        function!(
            "elsewhere",
            4,
            Role::caches(user("user:<id>", &["u64"]), "Elsewhere", &[]),
            cache("OTHER")
        ),
        function!("clear", 9, Role::invalidates(&[Template::typed("_")])),
        Registered::Tag("Team", Template::new("team:<0>", &["u64"])),
    ];
    assert_report(
        PROGRAM,
        "functions share the key `user:<id>`, but not their types: \
         each takes the entries of the others for misses\n  \
           --> src/users.rs:1: `find` caches `User`\n  \
           --> src/users.rs:2: `member` caches `Member`\n  \
           --> src/users.rs:3: `generic` caches `_`\n  \
           help: give each type a template of its own\n  \
           id: types user:<id> find, generic, member\n\n\
         functions share the key `user:<id>`, but not their schema versions: \
         each takes the entries of the others for misses\n  \
           --> src/users.rs:1: `find` has the schema version `0`\n  \
           --> src/users.rs:2: `member` has the schema version `0`\n  \
           --> src/users.rs:3: `generic` has the schema version `2`\n  \
           help: give them the same `version`, or templates of their own\n  \
           id: schema versions user:<id> find, generic, member",
    );
}

#[test]
fn parameters_of_different_types_are_reported() {
    static PROGRAM: &[Registered] = &[
        function!(
            "find",
            1,
            Role::caches(user("user:<id>", &["u64"]), "User", &[]),
        ),
        function!(
            "rename",
            2,
            Role::invalidates(&[user("user:<id>", &["str"])]),
        ),
    ];
    assert_report(
        PROGRAM,
        "`user:<id>` is used with parameters of different types, \
         which may write the same value differently\n  \
           --> src/users.rs:1: `find` has `user:<id>` of `u64`\n  \
           --> src/users.rs:2: `rename` has `user:<id>` of `str`\n  \
           help: give the parameters one type, or the templates different text\n  \
           id: parameter types user:<id> find, rename",
    );
}

#[test]
fn an_invalidation_of_nothing_and_a_tag_without_invalidation_are_reported() {
    static PROGRAM: &[Registered] = &[
        function!(
            "find",
            1,
            Role::caches(
                user("user:<id>", &["u64"]),
                "User",
                &[Template::new("users", &[])],
            ),
        ),
        function!(
            "rename",
            2,
            Role::invalidates(&[user("user:<id>:name", &["u64"]), Template::new("x", &[])]),
        ),
    ];
    assert_report(
        PROGRAM,
        "invalidating `user:<id>:name` reaches no cached function\n  \
           --> src/users.rs:2: `rename` invalidates it\n  \
           help: did you mean `user:<id>`?\n  \
           id: unused invalidation user:<id>:name rename\n\n\
         invalidating `x` reaches no cached function\n  \
           --> src/users.rs:2: `rename` invalidates it\n  \
           help: write it as in a `key` or an `invalidate_on`; \
           if it is cached by hand, leave it out with `except`\n  \
           id: unused invalidation x rename\n\n\
         nothing invalidates the tag `users`\n  \
           --> src/users.rs:1: `find` has it\n  \
           help: annotate what changes the data with `#[cache_invalidate]`, \
           or remove the tag; if it is invalidated by hand, leave it out with `except`\n  \
           id: unused tag users",
    );
    let all = Findings::or_nothing(findings(PROGRAM)).unwrap_err();
    let ids = ["unused invalidation x rename", "unused tag users"];
    let left = all.except(&ids).unwrap_err();
    let left: Vec<_> = left.iter().map(Finding::name).collect();
    assert_eq!(left, ["user:<id>:name"]);
}

#[test]
fn an_exception_is_for_one_finding_about_a_template() {
    static PROGRAM: &[Registered] = &[
        function!(
            "find",
            1,
            Role::caches(user("user:<id>", &["u64"]), "User", &[])
        ),
        function!(
            "member",
            2,
            Role::caches(user("user:<id>", &["str"]), "Member", &[])
        ),
    ];
    let all = Findings::or_nothing(findings(PROGRAM)).unwrap_err();
    let left = all.except(&["types user:<id> find, member", "user:<id>"]);
    let left = left.unwrap_err().to_string();
    assert!(
        left.ends_with("id: parameter types user:<id> find, member"),
        "{left}"
    );
}

#[test]
fn a_program_without_annotations_is_reported() {
    let report = report(&[]);
    assert!(report.contains("no annotated function"), "{report}");
    assert!(report.contains("use my_crate as _;"), "{report}");
    assert!(report.ends_with("id: no functions"), "{report}");
}

#[test]
fn placeholders_in_another_order_are_reported() {
    static PROGRAM: &[Registered] = &[
        function!(
            "find",
            1,
            Role::caches(user("f:<self.tenant>:<id>", &["_", "u64"]), "File", &[]),
        ),
        function!(
            "remove",
            2,
            Role::invalidates(&[user("f:<tenant>:<result.id>", &["u64", "_"])]),
        ),
        function!(
            "rename",
            3,
            Role::invalidates(&[user("f:<id>:<tenant>", &["u64", "str"])]),
        ),
    ];
    assert_report(
        PROGRAM,
        "`f:<self.tenant>:<id>` is used with its placeholders in another order, \
         so what is meant to be one name is two\n  \
           --> src/users.rs:1: `find` has `f:<self.tenant>:<id>` of `_`, `u64`\n  \
           --> src/users.rs:3: `rename` has `f:<id>:<tenant>` of `u64`, `str`\n  \
           help: write the placeholders in one order\n  \
           id: order f:<self.tenant>:<id> rename",
    );

    let swapped = ids(
        user("follows:<a.id>:<b.id>", &["_", "_"]),
        user("follows:<b.id>:<a.id>", &["_", "_"]),
    );
    assert_eq!(swapped, ["order follows:<a.id>:<b.id> change, find"]);
}

#[test]
fn placeholders_with_other_names_are_in_no_order() {
    static BOTH: &[Template] = &[
        user("friends:<a>:<b>", &["u64", "u64"]),
        user("friends:<b>:<a>", &["u64", "u64"]),
    ];

    let renamed = ids(
        user("member:<team>:<id>", &["u64", "u64"]),
        user("member:<id>:<user>", &["u64", "u64"]),
    );
    assert_eq!(renamed, [""; 0]);

    // A friendship belongs to both.
    let both = ids_of([
        Function::new(
            "find",
            "a.rs",
            1,
            caches(user("friends:<a>:<b>", &["u64", "u64"])),
        ),
        Function::new("unfriend", "a.rs", 2, Role::invalidates(BOTH)),
    ]);
    assert_eq!(both, [""; 0]);
}

#[test]
fn one_value_that_is_spelled_in_two_ways_is_reported() {
    static USER: &[NamedType] = &[NamedType::written("User")];
    static OTHER: &[NamedType] = &[NamedType::written("UserId")];

    assert_eq!(
        ids(
            user("u:<name.to_lowercase()>", &["_"]),
            user("u:<result.name>", &["_"])
        ),
        ["spelling u:<name.to_lowercase()> change, find"]
    );
    let of = |template, variables| Template::new(template, &["_"]).variables(variables);
    assert_eq!(
        ids(of("at:<user.day()>", USER), of("at:<user>", USER)),
        ["spelling at:<user.day()> change, find"]
    );
    assert_eq!(
        ids(of("user:<user>", USER), of("user:<user.id>", USER)),
        ["spelling user:<user> change, find"]
    );

    // Another thing, another way to it, or the same value.
    for (one, other) in [
        (of("user:<user>", OTHER), of("user:<user.id>", USER)),
        (
            of("user:<user.author>", USER),
            of("user:<user.reviewer>", USER),
        ),
        (of("user:<user.id()>", USER), of("user:<id>", OTHER)),
        (of("user:<user.id>", USER), of("user:<self.id>", &[])),
        (of("user:<id.0>", OTHER), of("user:<id>", OTHER)),
        (
            of("user:<name.as_str()>", USER),
            of("user:<name.clone()>", USER),
        ),
        (of("user:<name.trim()>", USER), of("user:<login>", USER)),
    ] {
        assert_eq!(ids(one, other), [""; 0], "{one} {other}");
    }
}

#[test]
fn an_option_meets_its_value_but_for_a_list_and_another_option() {
    for (read, written, id) in [
        ("Option<u64>", "u64", None),
        ("u64", "Option<u64>", None),
        ("Option<Id>", "Id", None),
        ("Option<_>", "u64", None),
        ("Option<u64>", "_", None),
        ("(u64, Option<str>)", "(u64, String)", None),
        ("Option<Vec<u64>>", "Vec<u64>", Some("option")),
        ("Option<HashSet<u64>>", "HashSet<u64>", Some("option")),
        ("Option<u64>", "Option<Option<u64>>", Some("option")),
        ("u64", "Option<Option<u64>>", Some("option")),
        ("u64", "Option<str>", Some("parameter types")),
        (
            "Option<Vec<u64>>",
            "Option<Vec<str>>",
            Some("parameter types"),
        ),
    ] {
        assert_contrast(read, written, id);
    }
}

#[test]
fn a_list_a_set_and_one_value_are_told_apart() {
    for (read, written, id) in [
        ("[u64]", "Vec<u64>", None),
        ("HashSet<u64>", "&BTreeSet<u64>", None),
        ("u64", "[u64]", Some("list")),
        ("Option<u64>", "[u64]", Some("list")),
        ("u64", "Option<Vec<u64>>", Some("list")),
        ("BTreeSet<u64>", "u64", Some("list")),
        ("HashSet<u64>", "Vec<u64>", Some("set")),
        ("HashSet<u64>", "Vec<str>", Some("parameter types")),
        ("HashMap<u64, str>", "Vec<(u64, str)>", Some("set")),
        ("HashMap<u64, str>", "BTreeMap<u64, String>", None),
        ("u64", "VecDeque<u64>", Some("list")),
    ] {
        assert_contrast(read, written, id);
    }
}

#[test]
fn types_that_write_differently_are_reported_and_those_that_write_alike_are_not() {
    for (read, written, id) in [
        ("u64", "String", Some("parameter types")),
        ("Uuid", "&str", Some("parameter types")),
        ("uuid::Uuid", "String", Some("parameter types")),
        ("Option<Duration>", "u64", Some("parameter types")),
        ("PathBuf", "String", Some("parameter types")),
        ("u32", "i64", None),
        ("&str", "Arc<str>", None),
        ("NonZeroU64", "Wrapping<u8>", None),
        ("IpAddr", "Ipv4Addr", None),
        ("Duration", "core::time::Duration", None),
        // It may be an alias.
        ("Duration", "Ttl", None),
    ] {
        assert_contrast(read, written, id);
    }
}

#[test]
fn a_list_that_is_invalidated_as_one_value_is_to_be_invalidated_by_each() {
    let help = |read: Template, invalidated: Template| {
        let invalidated: &'static [Template] = Box::leak(Box::new([invalidated]));
        let program: &'static [Registered] = Box::leak(Box::new([
            Registered::Function(Box::leak(Box::new(Function::new(
                "find",
                "a.rs",
                1,
                caches(read),
            )))),
            Registered::Function(Box::leak(Box::new(Function::new(
                "delete_all",
                "a.rs",
                2,
                Role::invalidates(invalidated),
            )))),
        ]));
        let found = findings(program);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].help.clone()
    };
    let by_itself = |attribute: &str| {
        format!(
            "invalidate each value by itself: `#[cache_invalidate({attribute})]`; or a tag that all \
             of them carry"
        )
    };
    assert_eq!(
        help(user("user:<id>", &["u64"]), user("user:<ids>", &["[u64]"])),
        by_itself("\"user:<id>\", each(id in ids)")
    );
    assert_eq!(
        help(
            user("u:<self.tenant>:<user.id>", &["_", "u64"]),
            user("u:<tenant>:<ids>", &["u64", "HashSet<u64>"])
        ),
        by_itself("\"u:<tenant>:<id>\", each(id in ids)")
    );
    // The name is taken.
    assert_eq!(
        help(
            user("user:<id>", &["u64"]),
            user("user:<id>", &["Vec<u64>"])
        ),
        by_itself("\"user:<one>\", each(one in id)")
    );
    // It is the read that has a list.
    assert_eq!(
        help(user("user:<ids>", &["[u64]"]), user("user:<id>", &["u64"])),
        "invalidate each value by itself, or a tag that all of them carry"
    );
}

/// Between a read of the one type and an invalidation of the other.
fn assert_contrast(read: &'static str, written: &'static str, id: Option<&str>) {
    let of = |ty: &'static str| user("p:<id>", Box::leak(Box::new([ty])));
    let expected: Vec<_> = id
        .map(|id| format!("{id} p:<id> change, find"))
        .into_iter()
        .collect();
    assert_eq!(ids(of(read), of(written)), expected, "{read} {written}");
}

#[test]
fn the_functions_that_differ_from_most_are_named() {
    let find = |path, line, ty: &'static [&'static str]| {
        Function::new(path, "a.rs", line, caches(user("user:<id>", ty)))
    };
    let program = [
        find("first", 1, &["Option<u64>"]),
        find("open", 2, &["_"]),
        find("odd", 3, &["str"]),
        find("third", 4, &["i32"]),
        find("fourth", 5, &["i32"]),
    ];
    assert_eq!(ids_of(program), ["parameter types user:<id> odd"]);
}

mod one {
    pub(super) enum Id {}
    pub(super) type Alias = i64;
}

mod other {
    pub(super) enum Id {}
}

#[test]
fn an_alias_is_its_type_and_two_types_with_one_name_are_two() {
    let of = |ty: NamedType| {
        let ty: &'static [NamedType] = Box::leak(Box::new([ty]));
        user("p:<id>", &["Id"]).variables(ty)
    };
    let (alias, integer) = (
        NamedType::of::<one::Alias>("Alias"),
        NamedType::written("i64"),
    );
    assert_eq!(ids(of(alias), of(integer)), [""; 0]);

    let (one, other) = (
        NamedType::of::<one::Id>("Id"),
        NamedType::of::<other::Id>("Id"),
    );
    assert_eq!(
        ids(of(one), of(other)),
        ["parameter types p:<id> change, find"]
    );

    // Of the second, only the text is known.
    assert_eq!(ids(of(one), of(NamedType::written("Id"))), [""; 0]);
}

#[test]
fn an_invalidation_in_another_cache_is_reported() {
    static NAMES: &[Template] = &[user("user:<id>", &["u64"])];

    static PROGRAM: &[Registered] = &[
        function!(
            "find",
            1,
            Role::caches(user("user:<id>", &["u64"]), "User", &[]),
            cache("MINE")
        ),
        function!(
            "rename",
            2,
            Role::invalidates(&[user("user:<id>", &["u64"])])
        ),
    ];
    assert_report(
        PROGRAM,
        "no function caches `user:<id>` in the global cache, but in another cache\n  \
           --> src/users.rs:2: `rename` invalidates it in the global cache\n  \
           --> src/users.rs:1: `find` caches it in `MINE`\n  \
           help: give all of them the same `cache = …`\n  \
           id: other cache user:<id> rename",
    );

    for (read, written, is_reported) in [
        (Some("MINE"), Some("&crate::MINE"), false),
        (Some("MINE"), Some("OTHER"), true),
        (Some("self.cache"), Some("state.cache()"), false),
        (Some("self.cache"), Some("MINE"), false),
        (Some("self.cache"), None, true),
        (None, Some("self.cache"), true),
    ] {
        let with = |mut function: Function, cache| {
            function.cache = cache;
            function
        };
        let ids = ids_of([
            with(Function::new("find", "a.rs", 1, caches(NAMES[0])), read),
            with(
                Function::new("change", "a.rs", 2, Role::invalidates(NAMES)),
                written,
            ),
        ]);
        assert_eq!(
            !ids.is_empty(),
            is_reported,
            "{read:?} {written:?}: {ids:?}"
        );
    }
}

#[test]
fn a_key_of_two_caches_that_is_invalidated_in_one_is_reported() {
    static KEY: &[Template] = &[user("user:<id>", &["u64"])];
    let find = |path, line| Function::new(path, "a.rs", line, caches(KEY[0]));
    let rename = Function::new("rename", "a.rs", 9, Role::invalidates(KEY));
    let program = [find("one", 1), find("two", 2).cache("MINE"), rename];
    assert_eq!(ids_of(program), ["other cache user:<id> two"]);
    let program = [find("one", 1), find("two", 2).cache("MINE")];
    assert_eq!(ids_of(program), [""; 0], "they live for their ttl");
}

#[test]
fn a_tag_that_is_invalidated_in_another_cache_only_is_reported() {
    static TAG: &[Template] = &[Template::new("users", &[])];
    let find = |path, line| {
        Function::new(
            path,
            "a.rs",
            line,
            Role::caches(user(path, &[]), "User", TAG),
        )
    };
    let clear = Function::new("clear", "a.rs", 9, Role::invalidates(TAG));
    let program = [find("one", 1), find("two", 2).cache("MINE"), clear];
    assert_eq!(ids_of(program), ["other cache users two"]);
}

#[test]
fn a_name_that_two_types_claim_and_a_type_with_two_names_are_reported() {
    static PROGRAM: &[Registered] = &[
        function!(
            "find",
            1,
            Role::caches(user("user:<id>", &["u64"]), "User", &[])
        ),
        Registered::OwnName(OwnName::new(|| "app::one::_::Id", "id", "src/one.rs", 2)),
        Registered::OwnName(OwnName::new(
            || "app::other::_::Id",
            "id",
            "src/other.rs",
            3,
        )),
        Registered::OwnName(OwnName::new(|| "app::_::Twice", "once", "src/lib.rs", 4)),
        Registered::OwnName(OwnName::new(|| "app::_::Twice", "twice", "src/lib.rs", 5)),
        Registered::OwnName(OwnName::new(|| "app::_::Same", "same", "src/lib.rs", 6)),
        Registered::OwnName(OwnName::new(|| "app::_::Same", "same", "src/lib.rs", 6)),
    ];
    assert_report(
        PROGRAM,
        "several types have the name `id`, so keys name each of them by its path\n  \
           --> src/one.rs:2: `app::one::Id` has the name `id`\n  \
           --> src/other.rs:3: `app::other::Id` has the name `id`\n  \
           help: give each type a name of its own in `#[key_name]`\n  \
           id: type name id app::one::Id, app::other::Id\n\n\
         `app::Twice` has several names, so keys name it by its path: two types have this path, \
         as in two versions of a crate, or it has two attributes\n  \
           --> src/lib.rs:4: `app::Twice` has the name `once`\n  \
           --> src/lib.rs:5: `app::Twice` has the name `twice`\n  \
           help: give it one `#[key_name]`\n  \
           id: type names app::Twice once, twice",
    );
}
