//! What a server tells of itself, line by line: `INFO`, and `CLUSTER INFO`.

/// What is said of a field, such as `maxmemory` in the line `maxmemory:0`.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    info.lines().find_map(value).map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_names() {
        let info = "# Memory\r\nmaxmemory_human:1.00G\r\nmaxmemory:1073741824\r\n";
        assert_eq!(field(info, "maxmemory"), Some("1073741824"));
        assert_eq!(field(info, "maxmemory_human"), Some("1.00G"));
        assert_eq!(field(info, "memory"), None);
    }
}
