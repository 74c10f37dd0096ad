//! One certificate authority a cluster, and a certificate for each of its parts.
//!
//! Keys are made anew at every start and never leave the state folder. The certificates are for machines that trust
//! this cluster alone; nobody installs the authority anywhere.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::files;

/// Who a certificate speaks for.
pub struct Identity<'a> {
    /// File name without its ending.
    pub file: &'a str,
    /// User name (or server name).
    pub user: &'a str,
    /// Group, if any.
    pub group: Option<&'a str>,
    /// Names and addresses of a server; empty for a client.
    pub hosts: Vec<String>,
}

/// The authority at work.
pub struct Pki {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Path of a certificate under a cluster's folder.
pub fn certificate(base: &Path, file: &str) -> PathBuf {
    base.join("pki").join(format!("{file}.crt"))
}

/// Path of a key under a cluster's folder.
pub fn key(base: &Path, file: &str) -> PathBuf {
    base.join("pki").join(format!("{file}.key"))
}

impl Pki {
    /// Makes a new authority in `state`, with `ca.crt`, `ca.key` and the key that signs service accounts' tokens.
    pub fn create(state: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new()).context("describe the authority")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "orion-local");
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let pair = KeyPair::generate().context("make the authority's key")?;
        let authority = params.self_signed(&pair).context("sign the authority's certificate")?;
        files::write(&certificate(state, "ca"), authority.pem())?;
        files::write_private(&key(state, "ca"), pair.serialize_pem())?;
        let accounts = KeyPair::generate().context("make the key for service accounts")?;
        files::write_private(&key(state, "service-accounts"), accounts.serialize_pem())?;
        files::write(&state.join("pki/service-accounts.pub"), accounts.public_key_pem())?;
        Ok(Self { folder: state.to_owned(), issuer: Issuer::new(params, pair) })
    }

    /// Issues a certificate: for clients always, for servers too when `hosts` are given.
    pub fn issue(&self, identity: &Identity) -> Result<()> {
        let Identity { file, user, group, hosts } = identity;
        let mut params = CertificateParams::new(hosts.clone()).with_context(|| format!("name the hosts of {file}"))?;
        params.distinguished_name.push(DnType::CommonName, *user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !hosts.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let pair = KeyPair::generate().with_context(|| format!("make the key of {file}"))?;
        let signed =
            params.signed_by(&pair, &self.issuer).with_context(|| format!("sign the certificate of {file}"))?;
        files::write(&certificate(&self.folder, file), signed.pem())?;
        files::write_private(&key(&self.folder, file), pair.serialize_pem())
    }

    /// Issues a client certificate and writes a kubeconfig around it, `<file>.kubeconfig`.
    pub fn issue_kubeconfig(&self, file: &str, user: &str, group: Option<&str>, server: &str) -> Result<PathBuf> {
        self.issue(&Identity { file, user, group, hosts: Vec::new() })?;
        let path = self.folder.join(format!("{file}.kubeconfig"));
        files::write_private(&path, self.kubeconfig(file, server)?)?;
        Ok(path)
    }

    /// The kubeconfig of an issued client certificate, complete in itself (JSON, which is YAML).
    pub fn kubeconfig(&self, file: &str, server: &str) -> Result<String> {
        let encoded = |path: PathBuf| -> Result<String> {
            use base64::Engine as _;
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
        };
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "orion",
            "contexts": [{"name": "orion", "context": {"cluster": "orion", "user": file}}],
            "clusters": [{"name": "orion", "cluster": {
                "server": server,
                "certificate-authority-data": encoded(certificate(&self.folder, "ca"))?,
            }}],
            "users": [{"name": file, "user": {
                "client-certificate-data": encoded(certificate(&self.folder, file))?,
                "client-key-data": encoded(key(&self.folder, file))?,
            }}],
        });
        serde_json::to_string_pretty(&config).context("write a kubeconfig")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_is_complete_in_itself() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(folder.path()).unwrap();
        let path = pki.issue_kubeconfig("admin", "admin", Some("system:masters"), "https://127.0.0.1:1").unwrap();
        let config: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let user = &config["users"][0]["user"];
        assert!(user["client-certificate-data"].is_string() && user["client-key-data"].is_string());
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:1");
    }
}
