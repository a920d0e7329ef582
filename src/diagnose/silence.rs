//! Whose timeout a measured limit of silence is: a line of the configuration, or a name that people meet often.

use std::time::Duration;

use crate::event::silence::{Cut, Limit};
use crate::event::site::{Location, Place, Setting};
use crate::event::tally::sessions::WELL_KNOWN;
use crate::model::Model;

use super::look::{cases, short};

/// Who likely ends silent tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// One sentence.
    pub said: String,
    /// The line that sets the timeout, or that of the location whose default it is; `None` when it is only a guess by value.
    pub place: Option<Place>,
    /// What would let tunnels live.
    pub fix: String,
}

/// Reads the culprit off the limit, and off the location that the model's one probe hits where that is known.
#[must_use]
pub fn culprit(model: &Model, limit: &Limit) -> Option<Culprit> {
    let at = limit.estimate?;
    let error = limit.error.unwrap_or_default();
    let spot = cases(model).into_iter().find_map(|c| c.spot);
    // nginx tells by FIN; a tunnel that vanished without a word was not ended by it.
    let by_nginx = spot.filter(|_| limit.how == Some(Cut::Fin));
    let configured = by_nginx.and_then(|s| of_location(s.location, at, error));
    let fix = format!("send a ping at least every {}", seconds(at / 2));
    if let Some((name, setting, location)) = configured {
        let place = setting.place.clone().unwrap_or_else(|| location.place.clone());
        let value = seconds(setting.value);
        let said = match &setting.place {
            Some(p) => format!("{name} {value} at {}, {}", location.path, short(p)),
            None => {
                format!("the default of {name}, {value}, which nothing changes at {}, {}", location.path, short(&place))
            }
        };
        return Some(Culprit { said, place: Some(place), fix: format!("{fix}, or raise {name}") });
    }
    let known = WELL_KNOWN.iter().find(|k| fits(at, error, Duration::from_secs(k.seconds)));
    // nginx's own defaults are no guess where its configuration is known.
    let name = known.and_then(|k| if spot.is_some() { k.others } else { k.nginx.or(k.others) });
    let said = match (spot, name) {
        (None, None) => return None,
        (None, Some(name)) => format!("by its value perhaps {name}"),
        (Some(_), Some(name)) => format!("no timeout of this nginx's configuration; by its value perhaps {name}"),
        (Some(_), None) => "no timeout of this nginx's configuration: the backend, or something between".to_owned(),
    };
    Some(Culprit { said, place: None, fix })
}

type Named<'a> = (&'static str, &'a Setting<Duration>, &'a Location);

/// The timeout of this location that the limit equals. proxy_send_timeout does not end silent tunnels: it runs only while
/// nginx cannot write.
fn of_location(l: &Location, at: Duration, error: Duration) -> Option<Named<'_>> {
    fits(at, error, l.read_timeout.value).then_some(("proxy_read_timeout", &l.read_timeout, l))
}

/// nginx's timers fire up to 300 ms early (event/ngx_event_timer.h) and on a busy worker a second late.
fn fits(at: Duration, error: Duration, timeout: Duration) -> bool {
    let slack = error.max(timeout / 100);
    at + slack + Duration::from_millis(310) >= timeout && at <= timeout + slack + Duration::from_secs(1)
}

fn seconds(d: Duration) -> String {
    let d = d.as_secs_f64();
    if (d - d.round()).abs() < 0.05 { format!("{d:.0} s") } else { format!("{d:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_fits_a_timeout_within_its_error_and_nginx_s_own_slack() {
        let secs = Duration::from_secs_f64;
        assert!(fits(secs(60.0), secs(0.05), secs(60.0)));
        assert!(fits(secs(59.8), secs(0.05), secs(60.0)));
        assert!(fits(secs(61.2), secs(0.05), secs(60.0)));
        assert!(!fits(secs(57.0), secs(0.05), secs(60.0)));
        assert!(fits(secs(345.0), secs(6.0), secs(350.0)), "a bracket is wider");
    }

    #[test]
    fn a_value_alone_is_only_perhaps() {
        let model = Model::new("h");
        let limit = |s, how| Limit {
            estimate: Some(Duration::from_secs(s)),
            error: Some(Duration::from_millis(50)),
            how: Some(how),
            ..Limit::default()
        };
        let found = culprit(&model, &limit(350, Cut::Dropped)).expect("a name");
        assert!(found.said.contains("perhaps") && found.said.contains("NLB"), "{}", found.said);
        assert_eq!(found.place, None);
        assert_eq!(culprit(&model, &limit(123, Cut::Fin)), None, "nothing is accused for nothing");
        assert_eq!(culprit(&model, &Limit::default()), None);
    }
}
