//! How each model lists the rules that can be left out.

/// Declares rules: a sentence for each, and a configuration in which its absence shows.
macro_rules! rules {
    ($($(#[doc = $sentence:literal])+ $rule:ident => $config:expr,)+) => {
        /// A rule that is left out.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Without {
            $($(#[doc = $sentence])+ $rule,)+
        }

        impl Without {
            /// All rules.
            pub const ALL: &[Self] = &[$(Self::$rule),+];

            /// The rule, in words.
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$rule => concat!($($sentence),+).trim_ascii(),)+
                }
            }

            /// A small configuration in which the absence of the rule breaks a promise.
            pub fn config(self) -> Config {
                let name = self.sentence();
                match self {
                    $(Self::$rule => {
                        let config: fn(Config) -> Config = $config;
                        config(Config::new(name))
                    })+
                }
            }
        }
    };
}
