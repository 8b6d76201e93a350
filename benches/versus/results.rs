//! The figures that the turns of a workload give together.

use crate::load::Errors;
use crate::product::{PRODUCTS, Product};
use crate::spread::Spread;
use crate::turn::{Paced, Turn};
use crate::workload::Workload;

/// If the control's cost moves by more than this share, no ratio of that workload means anything.
const CONTROL_SPREAD_MAX: f64 = 0.10;

pub(crate) struct Results {
    pub(crate) workload: &'static Workload,
    pub(crate) turns: Vec<Turn>,
}

/// One figure of one product, divided by HAProxy's, by rounds.
pub(crate) type Ratio = Option<Spread>;

impl Results {
    /// The measured products, in the order of the tables.
    pub(crate) fn products(&self) -> impl Iterator<Item = Product> {
        PRODUCTS
            .into_iter()
            .filter(|product| *product != Product::Control && self.of(*product).next().is_some())
    }

    fn of(&self, product: Product) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(move |turn| turn.product == product)
    }

    pub(crate) fn spread(&self, product: Product, figure: fn(&Turn) -> f64) -> Spread {
        Spread::of(self.of(product).map(figure))
    }

    pub(crate) fn median(&self, product: Product, figure: fn(&Turn) -> f64) -> f64 {
        self.spread(product, figure).median()
    }

    /// All requests, and the failed ones by reason.
    pub(crate) fn requests(&self, product: Product) -> (u64, Errors) {
        let loads = self.of(product).flat_map(|turn| {
            std::iter::once(&turn.saturated).chain(turn.paced.as_ref().map(|paced| &paced.met))
        });
        let (mut all, mut errors) = (0, Errors::new());
        for load in loads {
            all += load.answers + load.errors.values().sum::<u64>();
            for (reason, count) in &load.errors {
                *errors.entry(reason.clone()).or_default() += count;
            }
        }
        (all, errors)
    }

    /// The movement of the control's cost: from the first to the ninth decile of the rounds, as a
    /// share of their median. One spoilt round does not count, because it does not move the median
    /// of the others either.
    pub(crate) fn control_spread(&self) -> Option<f64> {
        self.of(Product::Control).next()?;
        let costs = self.spread(Product::Control, Turn::cpu_us);
        Some((costs.percentile(90) - costs.percentile(11)) / costs.median())
    }

    pub(crate) fn is_steady(&self) -> bool {
        self.control_spread().is_some_and(|spread| spread <= CONTROL_SPREAD_MAX)
    }

    /// The ratio; `None` if the machine was not steady or there is no HAProxy.
    pub(crate) fn ratio(&self, product: Product, figure: fn(&Turn) -> f64) -> Ratio {
        let theirs: Vec<_> = self.of(Product::HaProxy).collect();
        let of_round = |turn: &Turn| {
            let same = theirs.iter().find(|other| other.round == turn.round)?;
            Some(figure(turn) / figure(same))
        };
        let ratios: Vec<_> = self.of(product).filter_map(of_round).collect();
        (self.is_steady() && !ratios.is_empty()).then(|| Spread::of(ratios))
    }
}

impl Turn {
    pub(crate) fn cpu_us(&self) -> f64 {
        self.user_us + self.sys_us
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        self.saturated.p99_ms
    }

    /// A figure at the fixed rate, which the control does not have.
    fn paced(&self, figure: fn(&Paced) -> f64) -> f64 {
        self.paced.as_ref().map(figure).unwrap_or_default()
    }

    pub(crate) fn paced_cpu_us(&self) -> f64 {
        self.paced(|paced| paced.cpu_us)
    }

    pub(crate) fn paced_rate(&self) -> f64 {
        self.paced(|paced| paced.asked_per_second)
    }

    pub(crate) fn paced_p50_ms(&self) -> f64 {
        self.paced(|paced| paced.met.p50_ms)
    }

    pub(crate) fn paced_p99_ms(&self) -> f64 {
        self.paced(|paced| paced.met.p99_ms)
    }

    pub(crate) fn paced_p999_ms(&self) -> f64 {
        self.paced(|paced| paced.met.p999_ms)
    }
}
