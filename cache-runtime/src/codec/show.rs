//! A stored value as text, for people.

use std::fmt::Write as _;

use super::form::Form;
use super::format::Format;
use super::reason::Reason;
use crate::inspection::ShownValue;

/// So many bytes of a value are shown that does not describe itself.
const PREVIEW: usize = 256;

impl Form {
    /// What can be shown of a payload.
    pub(crate) fn show(self, payload: &[u8]) -> ShownValue {
        let bytes = match self.compression.decompress(payload) {
            Ok(bytes) => bytes,
            Err(Reason::Lacks(feature)) => {
                let why =
                    format!("it is compressed; build this program with the feature `{feature}`");
                return preview(payload, why);
            }
            Err(reason) => return preview(payload, reason.to_string()),
        };
        match self.format {
            Format::Json => match str::from_utf8(&bytes).ok().and_then(pretty) {
                Some(text) => json(text, self),
                None => preview(&bytes, "it is not valid JSON".to_owned()),
            },
            Format::MessagePack => match self.format.decode::<serde_json::Value>(&bytes) {
                Ok(value) => json(format!("{value:#}"), self),
                Err(Reason::Lacks(feature)) => {
                    let why = format!(
                        "it is MessagePack; build this program with the feature `{feature}`"
                    );
                    preview(&bytes, why)
                }
                Err(reason) => {
                    let why = format!("it is MessagePack that JSON cannot express: {reason}");
                    preview(&bytes, why)
                }
            },
            Format::Postcard => preview(
                &bytes,
                "Postcard does not say of its bytes what they mean; only the value's type does"
                    .to_owned(),
            ),
            Format::Bytes => preview(&bytes, "the value is bytes".to_owned()),
        }
    }

    /// Whether a value in this form may be replaced by JSON: the reader's type can be read from it.
    pub(crate) fn is_of_serde(self) -> bool {
        !matches!(self.format, Format::Bytes)
    }
}

fn json(text: String, form: Form) -> ShownValue {
    ShownValue::Json {
        text,
        stored_as: form.to_string(),
    }
}

fn preview(bytes: &[u8], why: String) -> ShownValue {
    let shown = &bytes[..bytes.len().min(PREVIEW)];
    let preview = shown.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    ShownValue::Bytes {
        preview,
        length: bytes.len(),
        why,
    }
}

/// JSON on several lines. The digits of numbers and the order of fields stay as they are: to read them into
/// a `serde_json::Value` would change both.
pub(crate) fn pretty(text: &str) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0;
    let (mut is_in_text, mut is_escaped) = (false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if is_in_text {
            out.push(c);
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => is_in_text = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => {
                is_in_text = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                let end = if c == '{' { '}' } else { ']' };
                if chars.next_if_eq(&end).is_some() {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_shown_on_several_lines_with_its_digits_and_its_order() {
        let text = r#"{"z":[1,{"a":"x,{\"y\":1}"},[],{}],"n":123456789012345678901234567890,"f":1.50e3 , "e":{ } }"#;
        let expected = "{\n  \"z\": [\n    1,\n    {\n      \"a\": \"x,{\\\"y\\\":1}\"\n    },\n    [],\n    {}\n  ],\n  \
                        \"n\": 123456789012345678901234567890,\n  \"f\": 1.50e3,\n  \"e\": {}\n}";
        assert_eq!(pretty(text).as_deref(), Some(expected));
        assert_eq!(
            pretty(expected).as_deref(),
            Some(expected),
            "it stays as it is"
        );
        assert_eq!(pretty("\"<script>\"").as_deref(), Some("\"<script>\""));
        assert_eq!(pretty("null").as_deref(), Some("null"));
        assert_eq!(pretty("{"), None);
        assert_eq!(pretty("1 2"), None);
    }

    #[test]
    fn what_does_not_describe_itself_is_shown_as_bytes() {
        let form = Form::from_bytes(*b"b-").expect("a form");
        let ShownValue::Bytes {
            preview, length, ..
        } = form.show(&[0xab; 1000])
        else {
            panic!("bytes");
        };
        assert_eq!((preview.len(), length), (512, 1000));
        assert!(preview.starts_with("abab"));
        let json = Form::from_bytes(*b"j-").expect("a form");
        assert!(matches!(json.show(b"{"), ShownValue::Bytes { .. }));
        assert!(matches!(json.show(b"[1]"), ShownValue::Json { text, .. } if text == "[\n  1\n]"));
    }
}
