//! The form of the catalogue: one declaration of each fault, from which its typed form, its
//! kind and its entry are made, so that they cannot differ.

use super::info::Shape;

/// Whom a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The whole cluster.
    All,
    /// One VM.
    Vm(usize),
    /// Two groups of VMs.
    Sides(Vec<usize>, Vec<usize>),
    /// Processes of one VM, by name; without a name, the one that runs the test's body.
    Process(usize, String),
}

impl Target {
    pub(super) fn fits(&self, shape: Shape) -> bool {
        matches!(
            (self, shape),
            (Target::All, Shape::All)
                | (Target::Vm(_), Shape::Vm)
                | (Target::Sides(..), Shape::Sides(_))
                | (Target::Process(..), Shape::Process)
        )
    }

    /// The VMs that it names, in order of mention.
    pub fn vms(&self) -> Vec<usize> {
        match self {
            Target::All => Vec::new(),
            Target::Vm(vm) | Target::Process(vm, _) => vec![*vm],
            Target::Sides(a, b) => [&a[..], b].concat(),
        }
    }
}

impl From<()> for Target {
    fn from((): ()) -> Target {
        Target::All
    }
}

impl From<(usize,)> for Target {
    fn from((vm,): (usize,)) -> Target {
        Target::Vm(vm)
    }
}

impl From<(Vec<usize>, Vec<usize>)> for Target {
    fn from((a, b): (Vec<usize>, Vec<usize>)) -> Target {
        Target::Sides(a, b)
    }
}

impl From<(usize, String)> for Target {
    fn from((vm, name): (usize, String)) -> Target {
        Target::Process(vm, name)
    }
}

impl TryFrom<Target> for (usize,) {
    type Error = ();

    fn try_from(target: Target) -> Result<Self, ()> {
        match target {
            Target::Vm(vm) => Ok((vm,)),
            _ => Err(()),
        }
    }
}

impl TryFrom<Target> for (Vec<usize>, Vec<usize>) {
    type Error = ();

    fn try_from(target: Target) -> Result<Self, ()> {
        match target {
            Target::Sides(a, b) => Ok((a, b)),
            _ => Err(()),
        }
    }
}

impl TryFrom<Target> for (usize, String) {
    type Error = ();

    fn try_from(target: Target) -> Result<Self, ()> {
        match target {
            Target::Process(vm, name) => Ok((vm, name)),
            _ => Err(()),
        }
    }
}

/// Whether a process may be named so in a fault: what its text form can carry, and the name of
/// a file. The empty name stands for the process of the test's body.
pub(super) fn is_process_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_graphic() && !"\"'#=".contains(c);
    name.len() <= 64 && name.chars().all(fits)
}

/// A parameter's field in the typed form, to and from the uniform one.
pub(super) trait Amount: Sized {
    fn to_amount(&self) -> Option<i64>;
    fn from_amount(amount: Option<i64>) -> Option<Self>;
}

macro_rules! amounts {
    ($($number:ty),*) => { $(
        impl Amount for $number {
            fn to_amount(&self) -> Option<i64> {
                Some(i64::try_from(*self).unwrap_or(i64::MAX))
            }

            fn from_amount(amount: Option<i64>) -> Option<Self> {
                <$number>::try_from(amount?).ok()
            }
        }
    )* };
}
amounts!(u64, u32, u8, i64, i32);

impl<T: Amount> Amount for Option<T> {
    fn to_amount(&self) -> Option<i64> {
        self.as_ref()?.to_amount()
    }

    fn from_amount(amount: Option<i64>) -> Option<Self> {
        match amount {
            None => Some(None),
            some => T::from_amount(some).map(Some),
        }
    }
}

/// Makes [`Fault`](super::Fault), [`FaultKind`](super::FaultKind) and the catalogue from
/// declarations of this form; fields before the semicolon say whom the fault hits, those after it
/// are its parameters, in the order of its words:
///
/// ```text
/// /// What it does.
/// Kind = Variant { target: usize; /** Its parameter. */ rate_ppm: u32 = rate("of", ...) },
///     "name", "words in reports", Shape::Vm, Class::Network, Effect::Network,
///     "the incident that it stands for";
/// ```
macro_rules! faults {
    ($(
        $(#[$doc:meta])*
        $kind:ident = $variant:ident $({
            $($target:ident : $target_type:ty),+ ;
            $($(#[$param_doc:meta])* $param:ident : $param_type:ty = $value:expr),* $(,)?
        })?,
        $name:literal, $words:literal, $shape:expr, $class:expr, $effect:expr,
        $incident:literal;
    )*) => {
        /// One injectable fault. Times are nanoseconds of virtual time, rates parts per
        /// million; VMs are numbered from 0, clients last.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $(
                $(#[$doc])*
                $variant $({
                    $(
                        /// Whom it hits.
                        $target: $target_type,
                    )+
                    $($(#[$param_doc])* $param: $param_type,)*
                })?,
            )*
        }

        /// The kinds of faults, in the catalogue's order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FaultKind {
            $($(#[$doc])* $kind,)*
        }

        /// All kinds, in the order of [`FaultKind`].
        pub(super) static CATALOGUE: [FaultInfo; [$(FaultKind::$kind),*].len()] = [
            $(FaultInfo {
                kind: FaultKind::$kind,
                name: $name,
                words: $words,
                shape: $shape,
                params: &[$($($value),*)?],
                class: $class,
                effect: $effect,
                incident: $incident,
            },)*
        ];

        impl Fault {
            /// Takes the fault apart.
            pub fn parts(&self) -> Parts {
                match self {
                    $(Fault::$variant $({ $($target,)+ $($param,)* })? => Parts {
                        kind: FaultKind::$kind,
                        target: Target::from(($($($target.clone(),)+)?)),
                        amounts: vec![$($($param.to_amount(),)*)?],
                    },)*
                }
            }
        }

        impl Parts {
            /// The typed fault, or `None` if target or amounts do not fit the kind.
            pub fn build(self) -> Option<Fault> {
                if !self.target.fits(self.kind.info().shape) {
                    return None;
                }
                match self.kind {
                    $(FaultKind::$kind => {
                        $(
                            let ($($target,)+) = self.target.try_into().ok()?;
                            let [$($param),*] = self.amounts.try_into().ok()?;
                        )?
                        Some(Fault::$variant $({
                            $($target,)+
                            $($param: Amount::from_amount($param)?,)*
                        })?)
                    })*
                }
            }
        }
    };
}

pub(super) use faults;
