//! What chains of nftables do with a packet to a UDP port, as far as that shows from the rules (`libnftables-json(5)`).

use serde_json::Value;

/// A chain that the kernel calls itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) name: String,
    hook: String,
    devices: Vec<String>,
    drops_the_rest: bool,
    /// The statements of each rule.
    rules: Vec<Vec<Value>>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passes,
    Drops,
    /// It depends on more than the port.
    MayDrop,
}

/// The base chains of a ruleset; `None`: it is none.
pub(super) fn parse(json: &[u8]) -> Option<Vec<Chain>> {
    let whole: Value = serde_json::from_slice(json).ok()?;
    let objects = whole.get("nftables")?.as_array()?;
    let mut chains: Vec<Chain> = objects.iter().filter_map(|object| chain(object.get("chain")?)).collect();
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        let of = |chain: &&mut Chain| {
            (text(rule, "family"), text(rule, "table"), text(rule, "chain"))
                == (chain.family.clone(), chain.table.clone(), chain.name.clone())
        };
        if let (Some(chain), Some(statements)) = (chains.iter_mut().find(of), rule["expr"].as_array()) {
            chain.rules.push(statements.clone());
        }
    }
    Some(chains)
}

fn chain(value: &Value) -> Option<Chain> {
    let devices = match &value["dev"] {
        Value::String(name) => vec![name.clone()],
        Value::Array(names) => names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    Some(Chain {
        family: text(value, "family"),
        table: text(value, "table"),
        name: text(value, "name"),
        hook: value["hook"].as_str()?.to_owned(),
        devices,
        drops_the_rest: value["policy"] == "drop",
        rules: Vec::new(),
    })
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

impl Chain {
    /// Whether it is one of devices, and nobody has said of which.
    pub(super) fn lacks_devices(&self) -> bool {
        self.devices.is_empty() && matches!(self.hook.as_str(), "ingress" | "egress")
    }

    /// Takes them from what people read: `type filter hook ingress devices = { "a", "b" } priority filter; policy accept;`.
    pub(super) fn read_devices(&mut self, text: &str) {
        let line = text.lines().find(|line| line.contains(" hook ")).unwrap_or_default();
        self.devices = line.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    }

    /// Whether packets of an uplink meet it that has these devices below it, or is a bridge.
    pub(super) fn is_met(&self, below: &[&str], is_bridge: bool) -> bool {
        let is_below = self.devices.iter().any(|device| below.contains(&device.as_str()));
        match self.hook.as_str() {
            "ingress" | "egress" => is_below,
            // Through a bridge's own device, packets come in by the former two and leave by the latter.
            "prerouting" | "input" | "output" | "postrouting" => self.family == "bridge" && is_bridge,
            _ => false,
        }
    }

    /// What becomes of a packet to a UDP port.
    pub(super) fn outcome(&self, port: u16) -> Outcome {
        let mut may_drop = false;
        for rule in &self.rules {
            let matches = rule.iter().filter_map(|statement| statement.get("match"));
            let all: Vec<Option<bool>> = matches.map(|condition| holds(condition, port)).collect();
            // `None` where nobody knows.
            let holds = match (all.contains(&Some(false)), all.contains(&None)) {
                (true, _) => Some(false),
                (false, true) => None,
                (false, false) => Some(true),
            };
            let has = |verdict: &str| rule.iter().any(|statement| statement.get(verdict).is_some());
            let drops = has("drop") || has("reject");
            let leads_elsewhere = ["jump", "goto", "vmap", "limit", "queue"].into_iter().any(has);
            match holds {
                Some(false) => {}
                Some(true) if has("limit") => may_drop |= drops,
                Some(true) if drops => return Outcome::Drops,
                Some(true) if has("accept") => {
                    return if may_drop { Outcome::MayDrop } else { Outcome::Passes };
                }
                _ => may_drop |= drops || leads_elsewhere,
            }
        }
        match (self.drops_the_rest, may_drop) {
            (true, _) => Outcome::Drops,
            (false, true) => Outcome::MayDrop,
            (false, false) => Outcome::Passes,
        }
    }
}

/// Whether a condition holds of a packet to a UDP port; `None`: that depends on more.
fn holds(condition: &Value, port: u16) -> Option<bool> {
    let (left, right) = (&condition["left"], &condition["right"]);
    let is_equal = match condition["op"].as_str()? {
        "==" | "in" => true,
        "!=" => false,
        _ => return None,
    };
    let (protocol, field) = (left["payload"]["protocol"].as_str(), left["payload"]["field"].as_str());
    let is_in = match (protocol, field) {
        (Some("udp" | "th"), Some("dport")) => is_among(right, port)?,
        (Some("ip"), Some("protocol")) | (Some("ip6"), Some("nexthdr")) => is_udp(right)?,
        (Some("tcp" | "icmp" | "icmpv6" | "sctp" | "arp"), _) => return Some(false),
        _ if left["meta"]["key"] == "l4proto" => is_udp(right)?,
        _ => return None,
    };
    Some(is_in == is_equal)
}

/// Whether a number is a port, or one of a set or a range of them.
fn is_among(ports: &Value, port: u16) -> Option<bool> {
    let port = u64::from(port);
    if let Some(one) = ports.as_u64() {
        return Some(one == port);
    }
    if let Some(range) = ports["range"].as_array() {
        return Some((range.first()?.as_u64()?..=range.get(1)?.as_u64()?).contains(&port));
    }
    let set = ports["set"].as_array()?;
    let port = u16::try_from(port).ok()?;
    set.iter().try_fold(false, |found, one| Some(found || is_among(one, port)?))
}

fn is_udp(protocol: &Value) -> Option<bool> {
    if let Some(set) = protocol["set"].as_array() {
        return set.iter().try_fold(false, |found, one| Some(found || is_udp(one)?));
    }
    match protocol {
        Value::String(name) => Some(name == "udp"),
        Value::Number(number) => Some(number.as_u64() == Some(17)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain_of(policy: &str, rules: &[Value]) -> Chain {
        let mut objects = vec![json!({"chain": {
            "family": "netdev", "table": "t", "name": "c", "hook": "ingress", "dev": "m1", "policy": policy
        }})];
        objects.extend(
            rules
                .iter()
                .map(|expr| json!({"rule": {"family": "netdev", "table": "t", "chain": "c", "expr": expr}})),
        );
        let bytes = serde_json::to_vec(&json!({"nftables": objects})).unwrap();
        parse(&bytes).unwrap().remove(0)
    }

    fn port(ports: &Value) -> Value {
        json!({"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": ports}})
    }

    #[test]
    fn what_becomes_of_a_packet() {
        let (drop, accept) = (json!({"drop": null}), json!({"accept": null}));
        let ours = port(&json!(4789));
        let tcp = json!({"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}});
        let mark = json!({"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 7}});
        for (policy, rules, outcome) in [
            ("accept", vec![], Outcome::Passes),
            ("drop", vec![], Outcome::Drops),
            ("drop", vec![json!([ours, accept])], Outcome::Passes),
            ("accept", vec![json!([ours, drop])], Outcome::Drops),
            ("accept", vec![json!([drop])], Outcome::Drops),
            ("accept", vec![json!([tcp, drop])], Outcome::Passes),
            ("accept", vec![json!([mark, drop])], Outcome::MayDrop),
            ("accept", vec![json!([mark, drop]), json!([ours, accept])], Outcome::MayDrop),
            ("accept", vec![json!([ours, accept]), json!([drop])], Outcome::Passes),
            (
                "accept",
                vec![json!([port(&json!({"set": [53, {"range": [4000, 5000]}]})), drop])],
                Outcome::Drops,
            ),
            ("accept", vec![json!([port(&json!({"range": [1, 1024]})), drop])], Outcome::Passes),
            ("accept", vec![json!([mark, {"jump": {"target": "other"}}])], Outcome::MayDrop),
            ("accept", vec![json!([ours, {"limit": {"rate": 9}}, drop])], Outcome::MayDrop),
        ] {
            assert_eq!(chain_of(policy, &rules).outcome(4789), outcome, "{policy} {rules:?}");
        }
    }

    #[test]
    fn devices_are_read_where_json_lacks_them() {
        let mut chain = Chain { hook: "ingress".to_owned(), ..Chain::default() };
        assert!(chain.lacks_devices());
        chain.read_devices(
            "chain c {\n\ttype filter hook ingress devices = { \"a\", \"b\" } priority 0; policy drop;\n}",
        );
        assert_eq!(chain.devices, ["a", "b"]);
        chain.read_devices(
            "chain c {\n\ttype filter hook egress device \"u1\" priority 0;\n\tmeta mark \"x\"\n}",
        );
        assert_eq!(chain.devices, ["u1"]);
    }

    #[test]
    fn chains_of_the_uplink_itself_are_not_met() {
        let chain = chain_of("drop", &[]);
        assert!(chain.is_met(&["m1"], false));
        assert!(!chain.is_met(&["m2"], true));
        let bridge = Chain { family: "bridge".to_owned(), hook: "input".to_owned(), ..Chain::default() };
        assert!(bridge.is_met(&[], true) && !bridge.is_met(&["m1"], false));
    }
}
