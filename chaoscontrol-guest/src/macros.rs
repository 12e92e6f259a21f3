//! The assertion macros. Each records its site in the catalog at link time and reports
//! evaluations to the host. None ever panics, whatever comes out: the host judges.

/// States that `condition` is true each time, and that it is evaluated at least once.
///
/// `key = value` pairs after the message are reported with it; values are `Debug`. The
/// message is the property's identity and must be a constant.
///
/// ```
/// # use chaoscontrol_guest::assert_always;
/// let (committed, applied) = (3, 2);
/// assert_always!(applied <= committed, "applied is committed", applied = applied);
/// ```
#[macro_export]
macro_rules! assert_always {
    ($condition:expr, $message:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__assert!(Always, $condition, $message $(, $key = $value)*)
    };
}

/// States that `condition` is true each time, if it is evaluated at all.
///
/// Takes what [`assert_always!`] takes.
#[macro_export]
macro_rules! assert_always_or_unreachable {
    ($condition:expr, $message:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__assert!(AlwaysOrUnreachable, $condition, $message $(, $key = $value)*)
    };
}

/// States that `condition` is true at least once over the whole exploration.
///
/// Takes what [`assert_always!`] takes.
#[macro_export]
macro_rules! assert_sometimes {
    ($condition:expr, $message:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__assert!(Sometimes, $condition, $message $(, $key = $value)*)
    };
}

/// States that this place is reached at least once over the whole exploration.
///
/// ```
/// # use chaoscontrol_guest::assert_reachable;
/// let term = 7;
/// assert_reachable!("an election times out", term = term);
/// ```
#[macro_export]
macro_rules! assert_reachable {
    ($message:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__assert!(Reachable, true, $message $(, $key = $value)*)
    };
}

/// States that this place is never reached. It does not panic if it is.
///
/// Takes what [`assert_reachable!`] takes.
#[macro_export]
macro_rules! assert_unreachable {
    ($message:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__assert!(Unreachable, true, $message $(, $key = $value)*)
    };
}

/// States that, within a branch, all VMs see one value for a key.
///
/// Key and value are `Debug`; they are compared as text.
///
/// ```
/// # use chaoscontrol_guest::assert_agree;
/// let (term, leader) = (7, 2);
/// assert_agree!(("leader", term), leader, "one leader per term");
/// ```
#[macro_export]
macro_rules! assert_agree {
    ($key:expr, $value:expr, $message:expr $(,)?) => {{
        $crate::__site!(Agree, $message);
        $crate::__private::agree(&SITE, &$key, &$value)
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __assert {
    ($kind:ident, $condition:expr, $message:expr $(, $key:ident = $value:expr)*) => {{
        $crate::__site!($kind, $message);
        $crate::__private::assert(
            &SITE,
            $condition,
            &[$((
                ::core::stringify!($key),
                &$value as &dyn ::core::fmt::Debug,
            )),*],
        )
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __site {
    ($kind:ident, $message:expr) => {
        #[$crate::__private::linkme::distributed_slice($crate::__private::SITES)]
        #[linkme(crate = $crate::__private::linkme)]
        static SITE: $crate::__private::Site = $crate::__private::Site::new(
            $crate::__private::PropertyKind::$kind,
            $message,
            ::core::file!(),
            ::core::line!(),
            ::core::column!(),
        );
    };
}

#[cfg(test)]
mod tests {
    use crate::catalog::SITES;
    use crate::protocol::PropertyKind;

    #[test]
    fn sites_are_known_though_never_reached_and_arguments_are_evaluated_once() {
        let mut evaluated = 0;
        let mut count = || {
            evaluated += 1;
            evaluated
        };
        assert_always!(count() == 7, "first", seen = count());
        assert_agree!(count(), count(), "second");
        if count() == 0 {
            assert_unreachable!("third");
        }
        assert_eq!(evaluated, 5);
        let mut found: Vec<_> = SITES
            .iter()
            .filter(|site| site.file == file!())
            .map(|site| (site.message, site.kind))
            .collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                ("first", PropertyKind::Always),
                ("second", PropertyKind::Agree),
                ("third", PropertyKind::Unreachable)
            ]
        );
    }

    #[test]
    fn the_host_hears_each_breach_but_each_success_once() {
        let site = |kind| crate::catalog::Site::new(kind, "", "", 1, 1);
        let always = site(PropertyKind::Always);
        let heard = [true, true, false, false].map(|outcome| always.is_news(outcome));
        assert_eq!(heard, [true, false, true, true]);
        let sometimes = site(PropertyKind::Sometimes);
        let heard = [false, false, true, true].map(|outcome| sometimes.is_news(outcome));
        assert_eq!(heard, [true, false, true, false]);
    }
}
