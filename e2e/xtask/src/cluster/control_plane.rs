//! etcd, the API server and the controllers: their arguments, the same for plain processes and for a node.
//!
//! etcd answers only to certificates of this cluster, also on loopback. Authorisation is on (Node and RBAC), as are the
//! default admission plugins, Pod Security and ValidatingAdmissionPolicy among them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::pki::{Identity, Pki, certificate, key};

/// Addresses and folders of one control plane.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// The cluster's folder, as the daemons see it.
    pub base: PathBuf,
    /// Address that the API server binds and advertises.
    pub address: String,
    /// Port of the API server.
    pub port: u16,
    /// etcd's ports on loopback: for clients and for peers (of which there are none).
    pub etcd_ports: (u16, u16),
    /// Addresses of Services, `a.b.c.0/24`.
    pub services: String,
    /// Whether kubelets exist.
    pub nodes: bool,
}

/// A daemon's name and arguments.
pub type Daemon = (&'static str, Vec<String>);

impl ControlPlane {
    /// URL of the API server.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }

    /// Issues the certificates and writes `controllers.kubeconfig` and the user's `kubeconfig`.
    pub fn issue(&self, pki: &Pki, state: &Path) -> Result<()> {
        let first_service = self.services.replace(".0/24", ".1");
        let server_names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1"];
        let mut hosts: Vec<String> = server_names.map(str::to_owned).to_vec();
        hosts.extend(["kubernetes.default.svc.cluster.local".to_owned(), first_service]);
        if self.address != "127.0.0.1" {
            hosts.push(self.address.clone());
        }
        let loopback = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        pki.issue(&Identity { file: "apiserver", user: "kube-apiserver", group: None, hosts })?;
        pki.issue(&Identity { file: "etcd", user: "etcd", group: None, hosts: loopback })?;
        let client = |file, user, group| Identity { file, user, group, hosts: Vec::new() };
        pki.issue(&client("apiserver-etcd", "kube-apiserver", None))?;
        pki.issue(&client("apiserver-kubelet", "kube-apiserver", Some("system:masters")))?;
        pki.issue_kubeconfig("controllers", "system:kube-controller-manager", None, &self.url())?;
        pki.issue(&client("admin", "admin", Some("system:masters")))?;
        crate::files::write_private(&state.join("kubeconfig"), pki.kubeconfig("admin", &self.url())?)
    }

    /// etcd. It never waits for the disk: nothing in a local cluster outlives a power cut.
    pub fn etcd(&self) -> Daemon {
        let client = format!("https://127.0.0.1:{}", self.etcd_ports.0);
        let peer = format!("http://127.0.0.1:{}", self.etcd_ports.1);
        let arguments = flags([
            ("name", "orion".to_owned()),
            ("data-dir", self.path("etcd")),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("orion={peer}")),
            ("client-cert-auth", "true".to_owned()),
            ("trusted-ca-file", self.certificate("ca")),
            ("cert-file", self.certificate("etcd")),
            ("key-file", self.key("etcd")),
            ("unsafe-no-fsync", "true".to_owned()),
            ("log-level", "warn".to_owned()),
        ]);
        ("etcd", arguments)
    }

    /// The API server.
    pub fn api_server(&self) -> Daemon {
        let mut arguments = flags([
            ("etcd-servers", format!("https://127.0.0.1:{}", self.etcd_ports.0)),
            ("etcd-cafile", self.certificate("ca")),
            ("etcd-certfile", self.certificate("apiserver-etcd")),
            ("etcd-keyfile", self.key("apiserver-etcd")),
            ("bind-address", self.address.clone()),
            ("advertise-address", self.address.clone()),
            ("secure-port", self.port.to_string()),
            ("cert-dir", self.path("apiserver")),
            ("tls-cert-file", self.certificate("apiserver")),
            ("tls-private-key-file", self.key("apiserver")),
            ("client-ca-file", self.certificate("ca")),
            ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
            ("service-account-key-file", self.path("pki/service-accounts.pub")),
            ("service-account-signing-key-file", self.key("service-accounts")),
            ("service-cluster-ip-range", self.services.clone()),
            ("authorization-mode", "Node,RBAC".to_owned()),
            ("enable-admission-plugins", "NodeRestriction".to_owned()),
            ("profiling", "false".to_owned()),
        ]);
        arguments.extend(if self.nodes {
            flags([
                ("kubelet-certificate-authority", self.certificate("ca")),
                ("kubelet-client-certificate", self.certificate("apiserver-kubelet")),
                ("kubelet-client-key", self.key("apiserver-kubelet")),
                // Names of nodes are in no DNS: without this, logs and exec fail.
                ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ])
        } else {
            // A loopback address is refused as an endpoint of the `kubernetes` Service, which no pod reads here.
            flags([("endpoint-reconciler-type", "none".to_owned())])
        });
        ("kube-apiserver", arguments)
    }

    /// The controllers.
    pub fn controllers(&self) -> Daemon {
        let arguments = flags([
            ("kubeconfig", self.path("controllers.kubeconfig")),
            ("leader-elect", "false".to_owned()),
            ("secure-port", "0".to_owned()),
            ("use-service-account-credentials", "true".to_owned()),
            ("service-account-private-key-file", self.key("service-accounts")),
            ("root-ca-file", self.certificate("ca")),
            ("cluster-signing-cert-file", self.certificate("ca")),
            ("cluster-signing-key-file", self.key("ca")),
            // The defaults are for a server shared by hundreds; here they only make namespaces slow to delete.
            ("kube-api-qps", "200".to_owned()),
            ("kube-api-burst", "400".to_owned()),
            ("profiling", "false".to_owned()),
        ]);
        ("kube-controller-manager", arguments)
    }

    fn path(&self, name: &str) -> String {
        self.base.join(name).to_string_lossy().into_owned()
    }

    fn certificate(&self, file: &str) -> String {
        certificate(&self.base, file).to_string_lossy().into_owned()
    }

    fn key(&self, file: &str) -> String {
        key(&self.base, file).to_string_lossy().into_owned()
    }
}

/// `--name=value` for each pair.
pub fn flags<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(nodes: bool) -> ControlPlane {
        ControlPlane {
            base: PathBuf::from("/s"),
            address: "127.0.0.1".to_owned(),
            port: 6443,
            etcd_ports: (2379, 2380),
            services: "198.19.1.0/24".to_owned(),
            nodes,
        }
    }

    #[test]
    fn nothing_listens_beyond_its_address() {
        let plane = plane(false);
        let all = [plane.etcd().1, plane.api_server().1, plane.controllers().1].concat();
        assert!(all.contains(&"--bind-address=127.0.0.1".to_owned()));
        assert!(all.iter().all(|flag| !flag.contains("0.0.0.0")));
        assert!(plane.controllers().1.contains(&"--secure-port=0".to_owned()));
    }

    #[test]
    fn authorisation_and_certificates_are_always_on() {
        for nodes in [false, true] {
            let arguments = plane(nodes).api_server().1;
            assert!(arguments.contains(&"--authorization-mode=Node,RBAC".to_owned()));
            assert!(arguments.iter().any(|flag| flag.starts_with("--client-ca-file=")));
        }
        assert!(plane(false).etcd().1.contains(&"--client-cert-auth=true".to_owned()));
    }

    #[test]
    fn kubelet_flags_come_only_with_nodes() {
        let has = |nodes| plane(nodes).api_server().1.iter().any(|flag| flag.starts_with("--kubelet"));
        assert!(has(true) && !has(false));
    }
}
