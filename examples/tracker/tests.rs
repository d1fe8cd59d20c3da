#[test]
fn annotations_have_no_contradictions() {
    cache_runtime::registry::check().unwrap();
}
