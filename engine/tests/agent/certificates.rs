//! Certificates for brokers and agents, made by `openssl`.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::run;

/// A certificate authority with a directory of its own.
#[derive(Debug)]
pub(crate) struct Authority {
    dir: TempDir,
}

/// A certificate and its private key, both PEM.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// When a certificate holds.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Holds {
    Now,
    NoLonger,
}

/// What `openssl ca` has to be told.
const SETTINGS: &str = "\
[ca]\ndefault_ca = only\n\
[only]\ndatabase = DIR/index\nnew_certs_dir = DIR\nrand_serial = yes\nunique_subject = no\n\
default_md = sha256\npolicy = names\ncopy_extensions = copy\n\
[names]\ncommonName = supplied\n";

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let dir = tempfile::Builder::new().prefix("logdrive-ca-").tempdir().unwrap();
        let authority = Authority { dir };
        let at = |file: &str| authority.path(file).to_str().expect("a plain path").to_owned();
        let settings = SETTINGS.replace("DIR", authority.dir.path().to_str().expect("a plain path"));
        std::fs::write(at("settings"), settings).unwrap();
        std::fs::write(at("index"), "").unwrap();
        let subject = format!("/CN={name}");
        run(
            "openssl",
            &[
                &["req", "-x509", "-subj", &subject, "-days", "30", "-keyout", &at("ca.key")][..],
                &["-out", &at("ca.pem"), "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
                &NEW_KEY,
            ]
            .concat(),
        );
        authority
    }

    /// The authority's own certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Certifies a new key. `names` are those of the host, as in `DNS:localhost,IP:127.0.0.1`.
    pub(crate) fn issue(&self, name: &str, names: &str, holds: Holds) -> Pair {
        let at = |ending: &str| self.path(&format!("{name}.{ending}"));
        let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
        let (key, request, cert) = (text(&at("key")), text(&at("csr")), text(&at("pem")));
        let (subject, names) = (format!("/CN={name}"), format!("subjectAltName={names}"));
        run(
            "openssl",
            &[
                &["req", "-new", "-subj", &subject, "-addext", &names, "-keyout", &key, "-out", &request][..],
                &NEW_KEY,
            ]
            .concat(),
        );
        let dates = match holds {
            Holds::Now => ["20200101000000Z", "20990101000000Z"],
            Holds::NoLonger => ["20200101000000Z", "20200202000000Z"],
        };
        let (settings, ca, ca_key) =
            (text(&self.path("settings")), text(&self.ca()), text(&self.path("ca.key")));
        run(
            "openssl",
            &[
                &["ca", "-batch", "-notext", "-config", &settings, "-cert", &ca, "-keyfile", &ca_key][..],
                &["-startdate", dates[0], "-enddate", dates[1], "-in", &request, "-out", &cert],
            ]
            .concat(),
        );
        Pair { cert: at("pem"), key: at("key") }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

impl Pair {
    /// Both in one file, as a broker wants them.
    pub(crate) fn bundle(&self) -> PathBuf {
        let bundle = self.cert.with_extension("bundle.pem");
        let both = [&self.key, &self.cert].map(|file| std::fs::read_to_string(file).unwrap());
        std::fs::write(&bundle, both.concat()).unwrap();
        bundle
    }

    /// Puts a copy at these places, as a renewal does: the certificate first, and each with a rename.
    pub(crate) fn install(&self, cert: &Path, key: &Path) {
        use std::os::unix::fs::PermissionsExt;
        for (from, to) in [(&self.cert, cert), (&self.key, key)] {
            let aside = to.with_extension("new");
            std::fs::copy(from, &aside).unwrap();
            std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(aside, to).unwrap();
        }
    }
}
