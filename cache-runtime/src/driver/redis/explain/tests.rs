use redis::{Value, parse_redis_value};

use super::*;

/// The error that a server's answer is.
fn answer(text: &str) -> RedisError {
    match parse_redis_value(format!("-{text}\r\n").as_bytes()) {
        Ok(Value::ServerError(error)) => error.into(),
        other => panic!("not an error: {other:?}"),
    }
}

#[test]
fn each_error_of_a_server_has_a_meaning() {
    let meaning = |error: &RedisError| {
        let error = explain("server:1", error);
        match () {
            () if error.is_read_only() => "replica",
            () if error.is_write_refused() => "writes refused",
            () if error.is_refused() => "denied",
            () if error.is_codec() => "foreign",
            () if error.is_unavailable() => "unavailable",
            () => "unknown",
        }
    };
    for (text, expected) in [
        (
            "LOADING Redis is loading the dataset in memory",
            "unavailable",
        ),
        ("MASTERDOWN Link with MASTER is down", "unavailable"),
        ("CLUSTERDOWN Hash slot not served", "unavailable"),
        ("BUSY Redis is busy running a script", "unavailable"),
        (
            "TRYAGAIN Multiple keys request during rehashing",
            "unavailable",
        ),
        (
            "READONLY You can't write against a read only replica.",
            "replica",
        ),
        (
            "NOREPLICAS Not enough good replicas to write.",
            "writes refused",
        ),
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            "writes refused",
        ),
        ("MISCONF Errors writing to the AOF file", "writes refused"),
        (
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "foreign",
        ),
        ("NOAUTH Authentication required.", "denied"),
        ("WRONGPASS invalid username-password pair", "denied"),
        (
            "NOPERM User x has no permissions to run the 'eval' command",
            "denied",
        ),
        ("ERR unknown command 'EVAL'", "denied"),
        // Redis before 7, where the error is a script's.
        (
            "ERR Error running script (call to f_89): @user_script:1: @user_script: 1: -READONLY You \
             can't write against a read only replica.",
            "replica",
        ),
        (
            "ERR Error running script (call to f_89): @user_script:12: @user_script: 12: -OOM command \
             not allowed when used memory > 'maxmemory'.",
            "writes refused",
        ),
        (
            "ERR Error running script (call to f_d3): @user_script:1: WRONGTYPE Operation against a \
             key holding the wrong kind of value",
            "foreign",
        ),
        (
            "ERR Error running script (call to f_89): @user_script:1: @user_script: 1: The user \
             executing the script can't run this command or subcommand",
            "denied",
        ),
    ] {
        assert_eq!(meaning(&answer(text)), expected, "{text}");
    }
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    assert_eq!(meaning(&refused.into()), "unavailable");
    let password = (ErrorKind::AuthenticationFailed, "wrong password");
    assert_eq!(meaning(&password.into()), "denied");
}

#[test]
fn an_error_names_the_server_and_its_answer() {
    let error = explain("server:1", &answer("NOAUTH Authentication required."));
    let message = error.to_string();
    assert!(message.contains("server:1"), "{message}");
    assert!(message.contains("Authentication required"), "{message}");
}

#[test]
fn the_older_protocol_is_tried_where_hello_failed_or_may_have_failed() {
    for text in [
        "NOPROTO unsupported protocol version",
        "NOPERM User x has no permissions to run the 'hello' command",
        "ERR unknown command 'HELLO'",
        "ERR unknown command `HELLO`, with args beginning with: `3`, ",
    ] {
        assert!(wants_older_protocol(&answer(text)), "{text}");
    }
    for text in [
        "ERR syntax error",
        "ERR Protocol error: unauthenticated multibulk length",
        "ERR max number of clients reached",
        "NOAUTH Authentication required.",
        "DENIED this proxy has no such command",
    ] {
        let error = answer(text);
        assert!(!wants_older_protocol(&error), "{text}");
        assert!(may_want_older_protocol(&error), "{text}");
    }
    for text in [
        "WRONGPASS invalid username-password pair or user is disabled.",
        "LOADING Redis is loading the dataset in memory",
    ] {
        assert!(!may_want_older_protocol(&answer(text)), "{text}");
    }
    let failed = |kind| may_want_older_protocol(&io::Error::from(kind).into());
    assert!(!failed(io::ErrorKind::ConnectionRefused));
    assert!(!failed(io::ErrorKind::TimedOut));
    assert!(failed(io::ErrorKind::UnexpectedEof), "it has hung up");
    let resp3 = (ErrorKind::RESP3NotSupported, "no version 3");
    assert!(wants_older_protocol(&resp3.into()));
}
