//! Mistakes do not compile, and the compiler says how to mend them; what is
//! right compiles and runs, whatever names the user gave.

use std::path::Path;

#[test]
fn mistakes_do_not_compile_and_what_is_right_does() {
    let compiler = trybuild::TestCases::new();
    compiler.compile_fail(every_file_of("ui/fail"));
    compiler.pass(every_file_of("ui/pass"));
}

/// A pattern, once it is sure that it matches something.
fn every_file_of(folder: &str) -> String {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let count = files.read_dir().expect("the folder is there").count();
    assert!(count > 0, "{folder} is empty");
    format!("{folder}/*.rs")
}
