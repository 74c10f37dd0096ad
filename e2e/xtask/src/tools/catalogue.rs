//! The table of what is built: one folder of `e2e/components` each, in the order in which a cold run builds them.

use super::Set;

/// One Go module (or C source) and the programs that come from it.
pub struct Component {
    /// Folder under `e2e/components`.
    pub folder: &'static str,
    /// How it is compiled.
    pub language: Language,
    /// Its programs.
    pub binaries: &'static [Binary],
}

/// How a component is compiled.
pub enum Language {
    /// A static C program.
    C,
    /// A Go module.
    Go {
        /// Whether C code is linked in.
        cgo: bool,
        /// Build tags, separated by commas.
        tags: &'static str,
        /// A variable set at link time, `name=value`.
        variable: Option<&'static str>,
    },
}

/// One program.
pub struct Binary {
    /// File name.
    pub name: &'static str,
    /// What the compiler is given: a Go package or a C file.
    pub package: &'static str,
    /// The smallest set that holds it.
    pub set: Set,
}

const PLAIN: Language = Language::Go { cgo: false, tags: "", variable: None };

/// Everything that can be built.
pub const COMPONENTS: &[Component] = &[
    Component {
        folder: "etcd",
        language: PLAIN,
        binaries: &[Binary { name: "etcd", package: "go.etcd.io/etcd/server/v3", set: Set::Processes }],
    },
    Component {
        folder: "nats",
        language: PLAIN,
        binaries: &[Binary { name: "nats-server", package: "github.com/nats-io/nats-server/v2", set: Set::Client }],
    },
    Component {
        folder: "kubernetes",
        // Without it the programs call themselves v0.0.0, and version checks of clients fail.
        language: Language::Go {
            cgo: false,
            tags: "",
            variable: Some("k8s.io/component-base/version.gitVersion=v1.36.3"),
        },
        binaries: &[
            Binary { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver", set: Set::Processes },
            Binary {
                name: "kube-controller-manager",
                package: "k8s.io/kubernetes/cmd/kube-controller-manager",
                set: Set::Processes,
            },
            Binary { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl", set: Set::Client },
            Binary { name: "kubelet", package: "k8s.io/kubernetes/cmd/kubelet", set: Set::Cluster },
            Binary { name: "kube-scheduler", package: "k8s.io/kubernetes/cmd/kube-scheduler", set: Set::Cluster },
            Binary { name: "kube-proxy", package: "k8s.io/kubernetes/cmd/kube-proxy", set: Set::Cluster },
        ],
    },
    Component {
        folder: "helm",
        language: PLAIN,
        binaries: &[Binary { name: "helm", package: "helm.sh/helm/v4/cmd/helm", set: Set::Client }],
    },
    Component {
        folder: "containerd",
        language: Language::Go { cgo: false, tags: "no_btrfs,no_devmapper,no_zfs", variable: None },
        binaries: &[
            Binary {
                name: "containerd",
                package: "github.com/containerd/containerd/v2/cmd/containerd",
                set: Set::Cluster,
            },
            Binary {
                name: "containerd-shim-runc-v2",
                package: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                set: Set::Cluster,
            },
            Binary { name: "ctr", package: "github.com/containerd/containerd/v2/cmd/ctr", set: Set::Cluster },
        ],
    },
    Component {
        folder: "runc",
        // Seccomp (profile RuntimeDefault of restricted pods) needs the C library.
        language: Language::Go { cgo: true, tags: "seccomp", variable: None },
        binaries: &[Binary { name: "runc", package: "github.com/opencontainers/runc", set: Set::Cluster }],
    },
    Component {
        folder: "coredns",
        language: PLAIN,
        binaries: &[Binary { name: "coredns", package: ".", set: Set::Cluster }],
    },
    Component {
        folder: "pause",
        language: Language::C,
        binaries: &[Binary { name: "pause", package: "pause.c", set: Set::Cluster }],
    },
];
