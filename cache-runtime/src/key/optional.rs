//! How a `Some` is told from `None`, although it is written as the value in it.
//!
//! `None` is `()`. `Some(x)` is what `x` is, with one exception: if that is nothing but
//! parentheses, like `()` and `((()))`, it gets one more pair. Two values of an `Option` have
//! different texts if two values of the type inside have:
//!
//! * A value of nothing but parentheses is some number of them, all opened and then all closed:
//!   a second value in a list would need a comma. So its text is known by the number of pairs,
//!   which is at least one. One pair more keeps two numbers different, and makes each at least
//!   two. `None` has one.
//! * Any other text stays as it is, and is none of these.
//!
//! That holds for whatever the value writes, so for a user's `KeyPart` too. And each pair counts
//! in the values around it: `Some(Some(None))` has three.

#![expect(clippy::inline_always, reason = "as in `sink`")]

use super::sink::Sink;

/// What a value in a `Some` has written so far, as long as that is only parentheses. They are
/// held back, since the pair that may be added comes first in the text.
#[derive(Default)]
pub(super) struct Parentheses {
    opened: usize,
    closed: usize,
    /// Something else followed, so they were passed on.
    passed_on: bool,
}

impl Parentheses {
    fn add_pair(&mut self) {
        self.opened += 1;
        self.closed += 1;
    }

    #[inline(always)]
    fn pass_on(&mut self, sink: &mut Sink<'_>) {
        if self.opened > 0 && !self.passed_on {
            write(self.opened, self.closed, sink.reborrow());
        }
        self.passed_on = true;
    }
}

// Not inlined, so that a `Some` of a number or a text stays as small as that value.
#[cold]
fn write(opened: usize, closed: usize, mut sink: Sink<'_>) {
    for _ in 0..opened {
        sink.punctuation(b'(');
    }
    for _ in 0..closed {
        sink.punctuation(b')');
    }
}

/// Where a value is written: a sink, behind the parentheses that are held back.
pub(super) struct Output<'a> {
    sink: Sink<'a>,
    held: Option<&'a mut Parentheses>,
}

impl<'a> Output<'a> {
    #[inline(always)]
    pub(super) fn new(sink: Sink<'a>) -> Self {
        Self { sink, held: None }
    }

    #[inline(always)]
    pub(super) fn reborrow(&mut self) -> Output<'_> {
        Output {
            sink: self.sink.reborrow(),
            held: self.held.as_deref_mut(),
        }
    }

    /// The sink, for anything but a parenthesis.
    #[inline(always)]
    pub(super) fn sink(&mut self) -> &mut Sink<'a> {
        if let Some(held) = self.held.as_deref_mut() {
            held.pass_on(&mut self.sink);
        }
        &mut self.sink
    }

    #[inline(always)]
    pub(super) fn open(&mut self) {
        match self.holding() {
            Some(held) => held.opened += 1,
            None => self.sink.punctuation(b'('),
        }
    }

    #[inline(always)]
    pub(super) fn close(&mut self) {
        match self.holding() {
            Some(held) => held.closed += 1,
            None => self.sink.punctuation(b')'),
        }
    }

    /// A value that was rendered before.
    #[inline(always)]
    pub(super) fn rendered(&mut self, value: &str) {
        if self.held.is_some() && value.bytes().all(|byte| matches!(byte, b'(' | b')')) {
            for byte in value.bytes() {
                match byte {
                    b'(' => self.open(),
                    _ => self.close(),
                }
            }
        } else {
            self.sink().rendered(value);
        }
    }

    /// What a `Some` that begins here holds back; `None` in another `Some` that still holds back:
    /// its parentheses are around those of this one, and a pair more may be anywhere in them.
    #[inline(always)]
    pub(super) fn begin_some(&mut self) -> Option<Parentheses> {
        self.holding().is_none().then(Parentheses::default)
    }

    /// Where the value in a `Some` is written.
    #[inline(always)]
    pub(super) fn in_some<'o>(&'o mut self, own: Option<&'o mut Parentheses>) -> Output<'o> {
        Output {
            sink: self.sink.reborrow(),
            held: own.or(self.held.as_deref_mut()),
        }
    }

    #[inline(always)]
    pub(super) fn end_some(&mut self, own: Option<Parentheses>) {
        match own {
            Some(mut own) => {
                if !own.passed_on {
                    own.add_pair();
                    own.pass_on(&mut self.sink);
                }
            }
            None => {
                if let Some(held) = self.holding() {
                    held.add_pair();
                }
            }
        }
    }

    /// The parentheses that are still held back.
    #[inline(always)]
    fn holding(&mut self) -> Option<&mut Parentheses> {
        self.held.as_deref_mut().filter(|held| !held.passed_on)
    }
}
