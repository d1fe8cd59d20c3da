//! Dates and times of other crates in keys, by their fields.
//!
//! `Display` is for people: it may write two values alike (`chrono` writes a leap second as the
//! second after it), and it may change with the crate's version. So each field is written here.
//! Two values of one type have the same text only if they are equal.

use std::fmt::{self, Display};

use super::part::{KeyPart, KeyWriter, Written};

/// A day of the proleptic Gregorian calendar. A year outside of 0 to 9999 has a sign.
struct CalendarDay {
    year: i32,
    month: u8,
    day: u8,
}

impl Display for CalendarDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day } = self;
        match year {
            0..=9999 => write!(f, "{year:04}")?,
            _ => write!(f, "{year:+05}")?,
        }
        write!(f, "-{month:02}-{day:02}")
    }
}

/// A time of day.
struct Clock {
    hour: u32,
    minute: u32,
    second: u32,
    /// From 10⁹ on, this is a leap second. Its fraction then has ten digits, as no other has.
    nanosecond: u32,
    style: Style,
}

/// The digits of a [`Clock`]: those that the crate's `Display` writes, so that most values have
/// one text in all versions of this crate.
struct Style {
    hour: usize,
    /// The digits of a fraction are `least`, or more by a multiple of `step`.
    least: u32,
    step: usize,
}

impl Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            hour,
            minute,
            second,
            nanosecond,
            style,
        } = self;
        write!(
            f,
            "{hour:0width$}:{minute:02}:{second:02}",
            width = style.hour
        )?;
        if *nanosecond >= 1_000_000_000 {
            return write!(f, ".{nanosecond}");
        }
        let mut lengths = (style.least..9).step_by(style.step);
        let digits = lengths.find(|digits| nanosecond % 10_u32.pow(9 - digits) == 0);
        match digits.unwrap_or(9) {
            0 => Ok(()),
            digits => {
                let fraction = nanosecond / 10_u32.pow(9 - digits);
                write!(f, ".{fraction:0width$}", width = digits as usize)
            }
        }
    }
}

/// Two fields, and what stands between them and behind them.
struct Joined<A, B>(A, &'static str, B, &'static str);

impl<A: Display, B: Display> Display for Joined<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(first, between, second, behind) = self;
        write!(f, "{first}{between}{second}{behind}")
    }
}

macro_rules! key_part_by_fields {
    ($($type:ty: $fields:expr;)+) => { $(
        #[diagnostic::do_not_recommend]
        impl KeyPart for $type {
            fn write(&self, out: KeyWriter<'_>) -> Written {
                out.display(&$fields(*self))
            }
        }
    )+ };
}

#[cfg(feature = "chrono")]
mod chrono {
    use std::convert::identity;

    use ::chrono::{
        DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike as _,
        Weekday,
    };

    use super::{CalendarDay, Clock, Display, Joined, KeyPart, KeyWriter, Style, Written};

    #[expect(clippy::cast_possible_truncation, reason = "months and days are small")]
    fn day(date: NaiveDate) -> CalendarDay {
        CalendarDay {
            year: date.year(),
            month: date.month() as u8,
            day: date.day() as u8,
        }
    }

    fn clock(time: NaiveTime) -> Clock {
        Clock {
            hour: time.hour(),
            minute: time.minute(),
            second: time.second(),
            nanosecond: time.nanosecond(),
            style: Style {
                hour: 2,
                least: 0,
                step: 3,
            },
        }
    }

    fn day_and_clock(moment: NaiveDateTime) -> impl Display + use<> {
        Joined(day(moment.date()), " ", clock(moment.time()), "")
    }

    key_part_by_fields! {
        NaiveDate: day;
        NaiveTime: clock;
        NaiveDateTime: day_and_clock;
        Weekday: identity;
    }

    /// Writes the instant: two values with the same instant are equal, whatever their time zones.
    #[diagnostic::do_not_recommend]
    impl<Tz: TimeZone> KeyPart for DateTime<Tz> {
        fn write(&self, out: KeyWriter<'_>) -> Written {
            let instant = self.naive_utc();
            out.display(&Joined(day_and_clock(instant), "", "", " UTC"))
        }
    }
}

#[cfg(feature = "time")]
mod time {
    use std::convert::identity;

    use ::time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset, Weekday};

    use super::{CalendarDay, Clock, Display, Joined, KeyPart, KeyWriter, Style, Written};

    fn day(date: Date) -> CalendarDay {
        CalendarDay {
            year: date.year(),
            month: date.month().into(),
            day: date.day(),
        }
    }

    fn clock(time: Time) -> Clock {
        Clock {
            hour: time.hour().into(),
            minute: time.minute().into(),
            second: time.second().into(),
            nanosecond: time.nanosecond(),
            style: Style {
                hour: 1,
                least: 1,
                step: 1,
            },
        }
    }

    fn day_and_clock(moment: PrimitiveDateTime) -> impl Display + use<> {
        Joined(day(moment.date()), " ", clock(moment.time()), "")
    }

    key_part_by_fields! {
        Date: day;
        Time: clock;
        PrimitiveDateTime: day_and_clock;
        Weekday: identity;
    }

    /// Writes the instant: two values with the same instant are equal, whatever their time zones.
    #[diagnostic::do_not_recommend]
    impl KeyPart for OffsetDateTime {
        fn write(&self, out: KeyWriter<'_>) -> Written {
            match self.checked_to_offset(UtcOffset::UTC) {
                Some(instant) => {
                    let instant = PrimitiveDateTime::new(instant.date(), instant.time());
                    out.display(&Joined(day_and_clock(instant), "", "", " +00:00:00"))
                }
                // Near the end of the range, the instant may have no date in UTC. Then all values
                // with this instant come here.
                None => out.display(&self.unix_timestamp_nanos()),
            }
        }
    }
}

#[cfg(feature = "jiff")]
mod jiff {
    use ::jiff::civil::{Date, DateTime, Time};
    use ::jiff::tz::Offset;
    use ::jiff::{Timestamp, Zoned};

    use super::{CalendarDay, Clock, Display, Joined, KeyPart, KeyWriter, Style, Written};

    fn day(date: Date) -> CalendarDay {
        CalendarDay {
            year: date.year().into(),
            month: date.month().unsigned_abs(),
            day: date.day().unsigned_abs(),
        }
    }

    fn clock(time: Time) -> Clock {
        let field = |field: i8| u32::from(field.unsigned_abs());
        Clock {
            hour: field(time.hour()),
            minute: field(time.minute()),
            second: field(time.second()),
            nanosecond: time.subsec_nanosecond().unsigned_abs(),
            style: Style {
                hour: 2,
                least: 0,
                step: 1,
            },
        }
    }

    fn day_and_clock(moment: DateTime) -> impl Display + use<> {
        Joined(day(moment.date()), "T", clock(moment.time()), "")
    }

    fn instant(instant: Timestamp) -> impl Display + use<> {
        Joined(day_and_clock(Offset::UTC.to_datetime(instant)), "", "", "Z")
    }

    key_part_by_fields! {
        Date: day;
        Time: clock;
        DateTime: day_and_clock;
        Timestamp: instant;
    }

    /// Writes the instant: two values with the same instant are equal, whatever their time zones.
    #[diagnostic::do_not_recommend]
    impl KeyPart for Zoned {
        fn write(&self, out: KeyWriter<'_>) -> Written {
            self.timestamp().write(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::key::text_of::{check_pair, text};

    /// A number from a range, and one that is near it or is the same or is any other.
    fn near(range: std::ops::RangeInclusive<i64>) -> impl Strategy<Value = (i64, i64)> {
        let (first, last) = (*range.start(), *range.end());
        let one = prop_oneof![
            4 => range.clone(),
            1 => Just(first),
            1 => Just(last),
        ];
        let steps = prop_oneof![
            Just(0),
            Just(1),
            Just(59),
            Just(60),
            Just(3_600),
            Just(86_400),
            Just(1_000_000),
            Just(1_000_000_000),
            Just(500_000_000),
            any::<i64>(),
        ];
        (one, steps, any::<bool>()).prop_map(move |(one, step, less)| {
            let step = if less { step.wrapping_neg() } else { step };
            (one, one.saturating_add(step).clamp(first, last))
        })
    }

    #[cfg(feature = "chrono")]
    mod chrono {
        use ::chrono::{
            DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _, Utc,
        };

        use super::*;

        fn days() -> impl Strategy<Value = (NaiveDate, NaiveDate)> {
            let date = |days: i64| NaiveDate::MIN + ::chrono::Days::new(days.unsigned_abs());
            let last = NaiveDate::MAX - NaiveDate::MIN;
            near(0..=last.num_days()).prop_map(move |(one, other)| (date(one), date(other)))
        }

        /// A nanosecond from 10⁹ on is a leap second, which `with_nanosecond` puts anywhere.
        fn clocks() -> impl Strategy<Value = (NaiveTime, NaiveTime)> {
            let clock = |(second, nanosecond): (i64, i64)| {
                let second = u32::try_from(second).unwrap();
                let whole = NaiveTime::from_num_seconds_from_midnight_opt(second, 0).unwrap();
                whole
                    .with_nanosecond(u32::try_from(nanosecond).unwrap())
                    .unwrap()
            };
            (near(0..=86_399), near(0..=1_999_999_999)).prop_map(move |(seconds, nanoseconds)| {
                (
                    clock((seconds.0, nanoseconds.0)),
                    clock((seconds.1, nanoseconds.1)),
                )
            })
        }

        proptest! {
            #[test]
            fn values_have_one_text_each(days in days(), clocks in clocks(), east in -86_399..86_400) {
                check_pair(&days.0, &days.1);
                check_pair(&clocks.0, &clocks.1);
                let moments = (days.0.and_time(clocks.0), days.1.and_time(clocks.1));
                check_pair(&moments.0, &moments.1);
                let zone = FixedOffset::east_opt(east).unwrap();
                let instant = |moment: NaiveDateTime| moment.and_utc();
                let (one, other) = (instant(moments.0), instant(moments.1));
                check_pair(&one, &other);
                check_pair(&one.with_timezone(&zone), &other.with_timezone(&zone));
                prop_assert_eq!(text(&one.with_timezone(&zone)), text(&one));
            }

            #[test]
            fn values_without_a_leap_second_have_their_old_text(days in days(), clocks in clocks()) {
                let clock = clocks.0.with_nanosecond(clocks.0.nanosecond() % 1_000_000_000).unwrap();
                let moment = days.0.and_time(clock);
                prop_assert_eq!(text(&days.0), format!("'{}'", days.0));
                prop_assert_eq!(text(&clock), format!("'{clock}'"));
                prop_assert_eq!(text(&moment), format!("'{moment}'"));
                prop_assert_eq!(text(&moment.and_utc()), format!("'{}'", moment.and_utc()));
            }
        }

        #[test]
        fn the_ends_of_the_range_have_a_text() {
            for instant in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
                for east in [-86_399, 0, 86_399] {
                    let zone = FixedOffset::east_opt(east).unwrap();
                    assert_eq!(text(&instant.with_timezone(&zone)), text(&instant));
                }
            }
        }

        #[test]
        fn a_leap_second_is_not_the_second_after_it() {
            let noon = NaiveTime::from_hms_opt(12, 0, 0).unwrap();
            let leap = noon.with_nanosecond(1_000_000_000).unwrap();
            assert_eq!(text(&leap), "'12:00:00.1000000000'");
            assert_ne!(
                text(&leap),
                text(&NaiveTime::from_hms_opt(12, 0, 1).unwrap())
            );
        }
    }

    #[cfg(feature = "time")]
    mod time {
        use ::time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

        use super::*;

        fn days() -> impl Strategy<Value = (Date, Date)> {
            let date = |day: i64| Date::from_julian_day(i32::try_from(day).unwrap()).unwrap();
            let (first, last) = (Date::MIN.to_julian_day(), Date::MAX.to_julian_day());
            near(first.into()..=last.into()).prop_map(move |days| (date(days.0), date(days.1)))
        }

        fn clocks() -> impl Strategy<Value = (Time, Time)> {
            let clock = |nanoseconds: i64| {
                Time::MIDNIGHT + std::time::Duration::from_nanos(nanoseconds.unsigned_abs())
            };
            near(0..=86_400_000_000_000 - 1)
                .prop_map(move |clocks| (clock(clocks.0), clock(clocks.1)))
        }

        proptest! {
            #[test]
            fn values_have_one_text_each(
                days in days(),
                clocks in clocks(),
                offsets in near(-93_599..=93_599),
            ) {
                check_pair(&days.0, &days.1);
                check_pair(&clocks.0, &clocks.1);
                let one = PrimitiveDateTime::new(days.0, clocks.0);
                let other = PrimitiveDateTime::new(days.1, clocks.1);
                check_pair(&one, &other);
                let offset =
                    |offset| UtcOffset::from_whole_seconds(i32::try_from(offset).unwrap()).unwrap();
                let (east, west) = (offset(offsets.0), offset(offsets.1));
                check_pair(&one.assume_offset(east), &other.assume_offset(west));
                check_pair(&one.assume_offset(east), &one.assume_offset(west));
                if let Some(elsewhere) = one.assume_offset(east).checked_to_offset(west) {
                    prop_assert_eq!(text(&elsewhere), text(&one.assume_offset(east)));
                }
            }

            #[test]
            fn values_have_their_old_text(days in days(), clocks in clocks()) {
                let moment = PrimitiveDateTime::new(days.0, clocks.0);
                prop_assert_eq!(text(&days.0), format!("'{}'", days.0));
                prop_assert_eq!(text(&clocks.0), format!("'{}'", clocks.0));
                prop_assert_eq!(text(&moment), format!("'{moment}'"));
                prop_assert_eq!(text(&moment.assume_utc()), format!("'{}'", moment.assume_utc()));
            }
        }

        #[test]
        fn an_instant_beyond_the_dates_of_utc_has_a_text() {
            let last = PrimitiveDateTime::new(Date::MAX, Time::MAX);
            let first = PrimitiveDateTime::new(Date::MIN, Time::MIDNIGHT);
            let hour = UtcOffset::from_hms(1, 0, 0).unwrap();
            let instants: [OffsetDateTime; 4] = [
                last.assume_offset(-hour),
                last.assume_utc(),
                first.assume_offset(hour),
                first.assume_utc(),
            ];
            for one in &instants {
                for other in &instants {
                    check_pair(one, other);
                }
            }
        }
    }

    #[cfg(feature = "jiff")]
    mod jiff {
        use ::jiff::civil::{Date, DateTime, Time};
        use ::jiff::tz::{Offset, TimeZone};
        use ::jiff::{Timestamp, ToSpan as _};

        use super::*;

        fn days() -> impl Strategy<Value = (Date, Date)> {
            let date = |days: i64| Date::MIN + days.days();
            let last = Date::MIN.until(Date::MAX).unwrap().get_days();
            near(0..=last.into()).prop_map(move |days| (date(days.0), date(days.1)))
        }

        fn clocks() -> impl Strategy<Value = (Time, Time)> {
            let clock = |nanoseconds: i64| Time::midnight() + nanoseconds.nanoseconds();
            near(0..=86_400_000_000_000 - 1)
                .prop_map(move |clocks| (clock(clocks.0), clock(clocks.1)))
        }

        fn instants() -> impl Strategy<Value = (Timestamp, Timestamp)> {
            let seconds = Timestamp::MIN.as_second() + 1..=Timestamp::MAX.as_second();
            let instant = |second: i64, nanosecond: i64| {
                Timestamp::new(second, i32::try_from(nanosecond).unwrap()).unwrap()
            };
            (near(seconds), near(-999_999_999..=999_999_999)).prop_map(
                move |(seconds, nanoseconds)| {
                    (
                        instant(seconds.0, nanoseconds.0),
                        instant(seconds.1, nanoseconds.1),
                    )
                },
            )
        }

        proptest! {
            #[test]
            fn values_have_one_text_each(
                days in days(),
                clocks in clocks(),
                instants in instants(),
                offset in -93_599..=93_599,
            ) {
                check_pair(&days.0, &days.1);
                check_pair(&clocks.0, &clocks.1);
                check_pair(
                    &DateTime::from_parts(days.0, clocks.0),
                    &DateTime::from_parts(days.1, clocks.1),
                );
                check_pair(&instants.0, &instants.1);
                let zone = TimeZone::fixed(Offset::from_seconds(offset).unwrap());
                let (one, other) = (instants.0.to_zoned(zone.clone()), instants.1.to_zoned(zone));
                check_pair(&one, &other);
                prop_assert_eq!(text(&one), text(&instants.0));
            }

            #[test]
            fn values_from_the_year_0_on_have_their_old_text(days in days(), clocks in clocks()) {
                let moment = DateTime::from_parts(days.0, clocks.0);
                prop_assert_eq!(text(&clocks.0), format!("'{}'", clocks.0));
                if days.0.year() >= 0 {
                    prop_assert_eq!(text(&days.0), format!("'{}'", days.0));
                    prop_assert_eq!(text(&moment), format!("'{moment}'"));
                    if let Ok(instant) = Offset::UTC.to_timestamp(moment) {
                        prop_assert_eq!(text(&instant), format!("'{instant}'"));
                    }
                }
            }
        }

        #[test]
        fn the_ends_of_the_range_have_a_text() {
            assert_ne!(text(&Timestamp::MIN), text(&Timestamp::MAX));
            assert_ne!(text(&DateTime::MIN), text(&DateTime::MAX));
        }
    }
}
