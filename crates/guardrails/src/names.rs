//! Names that files and directories have everywhere, and what they tell.

use std::sync::LazyLock;

use crate::glob::alternatives;

/// Directories below the root that nothing but the system's own tools should remove from.
pub const STRICT_SYSTEM: &[&str] =
    &["etc", "usr", "bin", "sbin", "lib", "lib32", "lib64", "boot", "sys", "proc", "System", "Library", "Applications"];

/// Directories below the root that belong to the system or to its services.
pub const SYSTEM: &[&str] = &[
    "etc",
    "usr",
    "bin",
    "sbin",
    "lib",
    "lib32",
    "lib64",
    "boot",
    "sys",
    "proc",
    "System",
    "Library",
    "Applications",
    "var",
    "opt",
    "srv",
    "run",
    "mnt",
    "media",
    "dev",
    "snap",
    "nix",
    "private",
    "Volumes",
    "cores",
    "lost+found",
];

/// What a system does not start without, or lets nobody in without; paths below the root.
pub static VITAL: LazyLock<Vec<&str>> = LazyLock::new(|| {
    alternatives(&[
        "etc|usr|bin|sbin|lib|lib64|boot|var|proc|sys|opt|srv|System|Library|Applications|usr/bin|usr/sbin|usr/lib|usr/local|var/lib",
        "etc/passwd*|etc/shadow*|etc/group*|etc/gshadow*|etc/sudoers*|etc/fstab|etc/pam.d*|etc/ssh|etc/ssh/sshd_config*",
        "etc/ld.so.preload|etc/hosts|etc/resolv.conf|etc/crontab|etc/init*|etc/systemd/system",
        "boot/*|bin/*|sbin/*|usr/bin/*|usr/sbin/*|lib/*|lib64/*|proc/sys*|sys/*|var/lib/mysql*|var/lib/postgresql*|var/lib/docker",
    ])
});

/// Caches of the system's package managers, paths below the root.
pub static CACHES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    alternatives(&[
        "var/cache/*|var/lib/apt/lists|var/lib/apt/lists/*|var/log/*.gz|var/crash/*|root/.cache*|usr/share/doc/*|usr/share/man/*",
    ])
});

/// Files in a home directory that decide what its owner's shells do and who may be its owner.
pub static PROFILE: LazyLock<Vec<&str>> = LazyLock::new(|| {
    alternatives(&[
        ".bashrc|.bash_profile|.bash_login|.profile|.zshrc|.zprofile|.zshenv|.zlogin|.config/fish/config.fish|.gitconfig",
        ".ssh/authorized_keys*|.ssh/config|.ssh/known_hosts|.bash_aliases|.config/autostart/*|Library/LaunchAgents/*",
    ])
});

/// Directories that tools make and make again.
pub static MADE: LazyLock<Vec<&str>> = LazyLock::new(|| {
    alternatives(&[
        "node_modules|target|dist|build|obj|coverage|htmlcov|.nyc_output|__pycache__|.pytest_cache|.mypy_cache|.ruff_cache|.tox|.nox|.venv",
        "venv|.virtualenv|virtualenv|.cache|.caches|*_cache|.next|.nuxt|.output|.svelte-kit|.turbo|.parcel-cache|.vite|.angular|.gradle",
        ".terraform|.tmp|.temp|*.egg-info|.eggs|cmake-build-*|_build|.dart_tool|Pods|DerivedData|.build|.swiftpm|elm-stuff|.stack-work",
        "dist-*|build-*|*-build|zig-cache|.zig-cache|zig-out|bazel-*|.serverless|.aws-sam|cdk.out|.expo|storybook-static|.docusaurus|_site",
        ".jekyll-cache|test-results|playwright-report|.hypothesis|.ipynb_checkpoints|.sass-cache|bower_components|.pnpm-store|_cacache",
        "wheelhouse|.bundle|.scannerwork|.nx|.wrangler|.fleet|.metals|.bloop|mutants.out|.stryker-tmp|.eslintcache",
    ])
});

/// Further names of what is not kept, for places that belong to nobody else.
pub static PASSING_BY: LazyLock<Vec<&str>> = LazyLock::new(|| {
    alternatives(&[
        "out|cache|caches|Caches|*-cache|tmp|temp|*.pyc|*.pyo|*.o|*.log|*.tmp|*.temp|*.swp|*.swo|*.orig|*.rej|*.class|*.tsbuildinfo|.DS_Store",
        "artifacts|.coverage|coverage.*|lcov.info|.yarn|.npm|*.whl|*.gcda|*.gcno|*.prof|*.profraw|*.pid|*.tar.gz|*.tgz|*.zip|*.core|core.*|logs|log",
        "junit.xml|test-output|*~|*.bak|bin|generated|.vercel|.netlify|*.map|*.min.js|*.cache|*.out|*.a|*.so|*.exe|*.dll|Thumbs.db|scratch",
        "sandbox|playground|*.snap.new|reports|.cargo|.m2|.ivy2|.nuget|.rustup",
    ])
});

/// What a project consists of, by the name of a directory at its top.
pub const SOURCES: &[&str] = &[
    "src",
    "source",
    "sources",
    "lib",
    "libs",
    "app",
    "apps",
    "packages",
    "crates",
    "pkg",
    "internal",
    "cmd",
    "server",
    "client",
    "backend",
    "frontend",
    "api",
    "web",
    "test",
    "tests",
    "spec",
    "docs",
    "doc",
    "scripts",
    "config",
    "configs",
    "migrations",
    "db",
    "database",
    "databases",
    "data",
    "public",
    "assets",
    "static",
    "include",
    "components",
    "pages",
    "modules",
    "services",
    "core",
    ".github",
    ".gitlab",
    "terraform",
    "infra",
    "infrastructure",
    "k8s",
    "deploy",
    "charts",
    "backup",
    "backups",
    "uploads",
    "storage",
    "models",
    "prisma",
    "content",
    "media",
    "www",
    "schema",
    "helm",
    "environments",
    "secrets",
    "certs",
    "keys",
];

/// Data that nobody can make again.
pub static DATA: LazyLock<Vec<&str>> = LazyLock::new(|| {
    alternatives(&[
        "*.db|*.sqlite|*.sqlite3|*.mdb|*.rdb|*.tfstate|*.tfstate.*|*.ibd|*.dump|*.sql.gz|*.kdbx|*.parquet",
        "pgdata|postgres-data|postgres_data|mysql-data|mysql_data|redis-data|db-data|db_data|mongo-data|*.duckdb",
    ])
});

/// Data whose name says that it is not kept.
pub const PASSING: &[&str] =
    &["test", "tmp", "temp", "cache", "scratch", "example", "sample", "fixture", "mock", "thumbs", "demo"];

/// What an interrupted command leaves in a repository's records, and what there is for people to change.
pub static LEFTOVERS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    alternatives(&[
        "*.lock|gc.log|gc.pid|*_EDITMSG|MERGE_*|rebase-merge|rebase-merge/*|rebase-apply|rebase-apply/*|hooks/*|info/exclude",
        "info/attributes|*.swp|fsmonitor--daemon*|lfs/tmp*|BISECT_*|CHERRY_PICK_HEAD|ORIG_HEAD|description|worktrees/*/locked",
    ])
});

/// Files that hold credentials, by their names in lower case.
pub static CREDENTIALS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    alternatives(&[
        ".env|.env.*|*.env|.envrc.local|.env-*|id_rsa|id_dsa|id_ecdsa|id_ed25519|id_ecdsa_sk|id_ed25519_sk|id_rsa.*|id_ed25519.*",
        "*.pem|*.key|*.p12|*.pfx|*.jks|*.keystore|*.kdbx|*.keytab|*.ppk|*.asc.key|.netrc|_netrc|.pgpass|.pypirc|.git-credentials",
        "*-credentials.json|*_credentials.json|.htpasswd|.vault-token|credentials.json|credentials.yml|credentials.yaml|credentials.toml|credentials.yml.enc",
        "application_default_credentials.json|service-account*.json|service_account*.json|serviceaccount*.json|client_secret*.json",
        "secrets.yml|secrets.yaml|secrets.json|secrets.toml|secrets.env|secret.yml|secret.yaml|secret.json|.secrets|*.secret|*.secrets",
        "shadow|gshadow|.credentials.json|.dockercfg|.s3cfg|.boto|.my.cnf|rclone.conf|wallet.dat|.dev.vars|kubeconfig|*.kubeconfig",
        "login data|logins.json|key4.db|key3.db|cookies.sqlite|*.keychain|*.keychain-db|*.gpg.key|private.key|privkey*|api_keys*|apikeys*",
        "*.private|*_private_key*|*-private-key*|*_rsa|*.tfvars.secret|passwords.txt|passwords.csv|password.txt|.passwd|vault_pass*|.vault_pass*",
    ])
});

/// Files that hold credentials, by their paths.
pub static CREDENTIAL_PATHS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    alternatives(&[
        "*/.aws/credentials|*/.aws/config|*/.aws|*/.aws/*|*/.ssh|*/.ssh/*|*/.gnupg|*/.gnupg/*|*/.kube|*/.kube/config|*/.docker/config.json",
        "*/.config/gcloud/*|*/.config/gcloud|*/.config/gh/hosts.yml|*/.cargo/credentials*|*/.gem/credentials|*/.azure/*|*/.config/op/*",
        "*/proc/*/environ|*/.npmrc.token|/root/.npmrc|/home/*/.npmrc|~/.npmrc|*/.password-store|*/.password-store/*|*/.terraform.d/credentials*",
        "*/.pulumi/credentials.json|*/.codex/auth.json|*/.claude/.credentials.json|*/run/secrets/*|/etc/sudoers|/etc/sudoers.d/*",
        "*/etc/shadow*|*/etc/gshadow*|*/var/run/secrets/*|*/etc/kubernetes/*.conf|*/etc/ssl/private/*|*/.config/rclone/rclone.conf",
        "*/security/sam|*/config/sam|*/.local/share/keyrings/*|*/keychains/*|*/.mozilla/firefox/*/logins.json|*/secrets/*.y*ml|*/secrets/*.json",
        "*/.netlify/config.json|*/.config/hub|*/.fly/config.yml|*/.heroku/credentials|*/.m2/settings-security.xml|*/secrets/*.txt|*/secrets/*.env",
    ])
});

/// Files whose names look like those of credentials, and that everybody may see.
pub static PUBLIC: LazyLock<Vec<&str>> = LazyLock::new(|| {
    alternatives(&[
        "*.pub|*.example|*.sample|*.template|*.dist|*.tmpl|*.tpl|*example*.env|*.env.example*|*.env.sample*|*.env.template*|.env.test*",
        "known_hosts*|authorized_keys*|*.md|*.crt|*.cer|*.csr|public*.pem|*pub*.pem|ca.pem|cacert*.pem|cert.pem|chain.pem|fullchain.pem",
        ".env.ci|.env.defaults|.env.schema|.env.d.ts|.env.vault|*.d.ts|*.rs|*.py|*.ts|*.js|*.go|*.java|*.rb|i18n.key|*.key.ts|example.env|sample.env|template.env",
        "known_hosts.old|pubring*|*.map.key|*.html|*.css|*.tsx|*.jsx|*-ca.pem|ca-*.pem|*bundle.pem",
    ])
});
