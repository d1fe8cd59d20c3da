//! How each model lists the rules that can be left out.

/// Declares rules with their sentences, and for each a configuration that misses it.
macro_rules! rules {
    ($($(#[doc = $sentence:literal])+ $rule:ident => $config:expr,)+) => {
        /// A rule that is left out.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Without {
            $($(#[doc = $sentence])+ $rule,)+
        }

        impl Without {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$rule),+];

            /// The rule, in words.
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$rule => concat!($($sentence),+).trim_ascii(),)+
                }
            }

            /// A small configuration in which the rule is missed.
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
