//! The built-in engine: an operation needs a level of trust, an agent has one.

use std::borrow::Cow;

use crate::request::{Action, Code, Decision, Principal};

/// May the principal do this, whatever with?
pub fn decide(principal: &Principal<'_>, action: &Action) -> Decision {
    match bounds(principal, action) {
        Some(refusal) => refusal,
        None if principal.trust() < action.level => distrust(principal, action),
        None => Decision { code: None, reason: Cow::Borrowed("trusted far enough"), policies: vec![] },
    }
}

/// The refusal of what the profile's lists do not let through: no engine widens them.
pub fn bounds(principal: &Principal<'_>, action: &Action) -> Option<Decision> {
    if principal.profile.lists(action) {
        return None;
    }
    let reason = format!(
        "profile {} does not let its agents call {}: get_my_profile tells what it does",
        principal.profile.name, action.name
    );
    Some(Decision { code: Some(Code::OperationNotPermitted), reason: reason.into(), policies: vec![] })
}

/// The refusal of what needs more trust.
pub fn distrust(principal: &Principal<'_>, action: &Action) -> Decision {
    let reason = format!(
        "{} needs trust level {}, and profile {} gives {}: ask a person to do it, or to assign another profile \
         (coordinator profile assign)",
        action.name,
        action.level,
        principal.profile.name,
        principal.trust()
    );
    Decision { code: Some(Code::InsufficientTrustLevel), reason: reason.into(), policies: vec![] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Permission, Profile, preconfigured};
    use crate::request::{ResourceKind, Vouched};
    use crate::trust::Trust;

    const ACT: Action = Action { name: "act", level: Trust::Standard, reads: false, resource: ResourceKind::Project };
    const LOOK: Action = Action { name: "look", level: Trust::Untrusted, reads: true, resource: ResourceKind::Project };

    fn asks(profile: &Profile, vouched: Vouched, action: &Action) -> Option<Code> {
        let principal = Principal { agent_id: "ann", agent_type: "t", session_id: None, profile, vouched };
        decide(&principal, action).code
    }

    #[test]
    fn an_operation_needs_its_level_and_the_profiles_lists() {
        for trust in Trust::ALL {
            let profile = Profile::new("p", trust, "");
            let expected = (trust < Trust::Standard).then_some(Code::InsufficientTrustLevel);
            assert_eq!(asks(&profile, Vouched::For, &ACT), expected, "{trust}");
            assert_eq!(asks(&profile, Vouched::For, &LOOK), None, "{trust}");
        }
        let admin = Profile::new("p", Trust::Admin, "");
        let blocked = Profile { blocked: vec![Permission::named("act")], ..admin.clone() };
        assert_eq!(asks(&blocked, Vouched::For, &ACT), Some(Code::OperationNotPermitted));
        let reads = Profile { allowed: Some(vec![Permission::Reads]), ..admin };
        assert_eq!(asks(&reads, Vouched::For, &ACT), Some(Code::OperationNotPermitted));
        assert_eq!(asks(&reads, Vouched::For, &LOOK), None);
    }

    #[test]
    fn nobody_makes_an_admin_of_itself() {
        let human = preconfigured().into_iter().find(|profile| profile.name == "human").unwrap();
        let change = Action { level: Trust::Admin, ..ACT };
        assert_eq!(asks(&human, Vouched::For, &change), None);
        assert_eq!(asks(&human, Vouched::ByNobody, &change), Some(Code::InsufficientTrustLevel));
        assert_eq!(asks(&human, Vouched::ByNobody, &ACT), None);
    }
}
