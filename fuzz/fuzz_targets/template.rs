//! The parser of templates.

#![no_main]

#[path = "../../cache-macros/src/template.rs"]
mod template;

use libfuzzer_sys::fuzz_target;

use self::template::Template;

fuzz_target!(|source: &str| {
    let template = match Template::parse(source) {
        Ok(template) => template,
        Err(faults) => return assert!(!faults.is_empty()),
    };
    assert_eq!(template.literals.len(), template.placeholders.len() + 1);
    let mut printed = String::new();
    for (index, literal) in template.literals.iter().enumerate() {
        printed += &literal.replace('<', "<<").replace('>', ">>");
        if let Some(placeholder) = template.placeholders.get(index) {
            printed += &placeholder.to_string();
        }
    }
    assert_eq!(printed, source);
    // Text that `braced` takes for a placeholder is one in angle brackets.
    for placeholder in template.braced() {
        let alone = Template::parse(&placeholder.to_string()).expect("it is a placeholder");
        assert_eq!(alone.placeholders, [placeholder]);
    }
});
