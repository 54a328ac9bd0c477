//! What stands in for PostgREST in tests: verifies the token, takes its role for the transaction, and calls the function
//! with the members of the JSON body as its arguments, by the queries and with the errors of PostgREST.
//!
//! Of PostgREST's whole interface there is `POST /rpc/{function}` only. In front of it, under `/rest/v1`, it also does
//! what Supabase's gateway does: a secret key is exchanged for a token.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

/// The key that Supabase's gateway exchanges for a token of `service_role`.
pub const SECRET_KEY: &str = "sb_secret_of-this-test";

/// What tokens are signed with.
const JWT_SECRET: &[u8] = b"at least thirty-two characters long";

/// The roles that a token may name, and the one that PostgREST connects as. Roles belong to the whole server, where other
/// tests make them too, at the same time.
const ROLES: &str = "
    do $$
    declare
        name text;
    begin
        foreach name in array '{anon, authenticated, service_role}'::text[] loop
            begin
                execute format('create role %I nologin noinherit', name);
            exception when duplicate_object or unique_violation then null;
            end;
        end loop;
        begin
            create role authenticator login noinherit in role anon, authenticated, service_role;
        exception when duplicate_object or unique_violation then null;
        end;
    end
    $$";

/// A running gateway. It goes with its value.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Served {
    pool: Pool,
    schemas: &'static [&'static str],
}

impl Gateway {
    /// In front of the database that `dsn` names as a superuser, exposing these schemas.
    ///
    /// # Panics
    /// When it cannot be started: a test that needs it has failed then, and should not look as if it had passed.
    #[expect(clippy::panic, reason = "called by tests, to which a missing gateway is a failure")]
    pub async fn start(dsn: &str, schemas: &'static [&'static str]) -> Self {
        match Self::try_start(dsn, schemas).await {
            Ok(gateway) => gateway,
            Err(error) => panic!("no gateway for this test: {error:#}"),
        }
    }

    async fn try_start(dsn: &str, schemas: &'static [&'static str]) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.context("connect to PostgreSQL")?;
        tokio::spawn(connection);
        client.batch_execute(ROLES).await.context("make the roles")?;

        let mut config: tokio_postgres::Config = dsn.parse()?;
        config.user("authenticator");
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let pool = Pool::builder(manager).max_size(4).build()?;
        let routes = Router::new()
            .route("/rpc/{function}", post(call))
            .route("/rest/v1/rpc/{function}", post(call))
            .with_state(Served { pool, schemas });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // It ends when it is aborted.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { address, task })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A token for the role, good for an hour.
    pub fn token(role: &str) -> String {
        Self::token_until(role, now() + 3600)
    }

    /// A token for the role, good until that second.
    pub fn token_until(role: &str, expires: u64) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed =
            format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(json!({"role": role, "exp": expires})));
        let signature = signature(&signed).map(|mac| mac.finalize().into_bytes()).unwrap_or_default();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a request is refused: the status, the code, and a sentence.
struct Refusal(StatusCode, String, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        (status, axum::Json(json!({"code": code, "details": null, "hint": null, "message": message}))).into_response()
    }
}

async fn call(
    State(served): State<Served>,
    uri: Uri,
    Path(function): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let token = match (header("authorization"), header("apikey")) {
        (Some(bearer), _) => bearer.strip_prefix("Bearer ").map(str::to_owned),
        (None, Some(SECRET_KEY)) if uri.path().starts_with("/rest/v1/") => Some(Gateway::token("service_role")),
        _ => None,
    };
    let claims = match &token {
        Some(token) => verified(token)?,
        None => json!({"role": "anon"}),
    };
    let schema = header("content-profile").unwrap_or(served.schemas[0]);
    if !served.schemas.contains(&schema) {
        let message = format!("The schema must be one of the following: {}", served.schemas.join(", "));
        return Err(Refusal(StatusCode::NOT_ACCEPTABLE, "PGRST106".into(), message));
    }
    let body = std::str::from_utf8(&body).ok().filter(|body| is_object(body));
    let body =
        body.ok_or_else(|| Refusal(StatusCode::BAD_REQUEST, "PGRST102".into(), "Empty or invalid json".into()))?;
    let answer = run(&served, &claims, schema, &function, body).await?;
    Ok(([("content-type", "application/json; charset=utf-8")], answer).into_response())
}

/// In one transaction, as PostgREST does it.
async fn run(served: &Served, claims: &Value, schema: &str, function: &str, body: &str) -> Result<String, Refusal> {
    let is_anonymous = claims["role"] == "anon";
    let failed = |error: tokio_postgres::Error| refusal(&error, is_anonymous);
    let mut client = served.pool.get().await.map_err(|error| {
        Refusal(StatusCode::SERVICE_UNAVAILABLE, "PGRST000".into(), format!("Database connection error: {error}"))
    })?;
    let found = client
        .query_typed(
            "select p.provolatile = 'v', coalesce(p.proargnames, '{}'),
                 array(select format_type(t.oid, null) from unnest(p.proargtypes) with ordinality as t (oid, place)
                       order by t.place)
             from pg_proc as p
             where p.pronamespace = to_regnamespace($1) and p.proname = $2",
            &[(&schema, Type::TEXT), (&function, Type::TEXT)],
        )
        .await
        .map_err(failed)?;
    let Some((is_volatile, names, types)) =
        found.first().map(|row| (row.get::<_, bool>(0), row.get::<_, Vec<String>>(1), row.get::<_, Vec<String>>(2)))
    else {
        let message = format!("Could not find the function {schema}.{function} in the schema cache");
        return Err(Refusal(StatusCode::NOT_FOUND, "PGRST202".into(), message));
    };

    let role = claims["role"].as_str().unwrap_or("anon");
    let transaction = client.build_transaction().read_only(!is_volatile).start().await.map_err(failed)?;
    transaction
        .query_typed(
            "select set_config('search_path', $1, true), set_config('role', $2, true),
                 set_config('request.jwt.claims', $3, true)",
            &[(&format!("{schema}, public"), Type::TEXT), (&role, Type::TEXT), (&claims.to_string(), Type::TEXT)],
        )
        .await
        .map_err(failed)?;
    let row = transaction
        .query_typed_one(&main_query(schema, function, &names, &types), &[(&body, Type::TEXT)])
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(row.get(0))
}

/// The arguments come out of the body by `json_to_record`, and what the function gives is the answer's body.
fn main_query(schema: &str, function: &str, names: &[String], types: &[String]) -> String {
    let list = |each: &dyn Fn(&str, &str) -> String| {
        names.iter().zip(types).map(|(name, of)| each(name, of)).collect::<Vec<_>>().join(", ")
    };
    let columns = list(&|name, of| format!("\"{name}\" {of}"));
    let arguments = list(&|name, _| format!("\"{name}\" := pgrst_body.\"{name}\""));
    let body = match names {
        [] => String::new(),
        _ => format!(
            ", lateral (select * from json_to_record(pgrst_payload.json_data) as _({columns}) limit 1) pgrst_body"
        ),
    };
    format!(
        "with pgrst_source as (
             select pgrst_call.pgrst_scalar
             from (select $1::json as json_data) pgrst_payload{body},
                 lateral (select \"{schema}\".\"{function}\"({arguments}) pgrst_scalar) pgrst_call
         )
         select coalesce(json_agg(_postgrest_t.pgrst_scalar) -> 0, 'null')::text as body
         from (select * from pgrst_source) _postgrest_t"
    )
}

fn is_object(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object())
}

/// The status that PostgREST gives an error of PostgreSQL.
fn refusal(error: &tokio_postgres::Error, is_anonymous: bool) -> Refusal {
    let Some(error) = error.as_db_error() else {
        return Refusal(StatusCode::SERVICE_UNAVAILABLE, "PGRST001".into(), error.to_string());
    };
    let code = error.code().code();
    let status = match (code, &code[..2]) {
        ("42501", _) if is_anonymous => 401,
        ("42501", _) | (_, "0L" | "0P" | "28") => 403,
        ("42883" | "42P01", _) => 404,
        ("25006", _) => 405,
        ("23503" | "23505", _) => 409,
        ("53400", _) => 500,
        (_, "08" | "53") => 503,
        (_, "09" | "25" | "2D" | "38" | "39" | "3B" | "40" | "54" | "55" | "57" | "58" | "F0" | "HV" | "XX") => 500,
        _ => 400,
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Refusal(status, code.into(), error.message().into())
}

/// The claims of a token that is signed by us and has not expired.
fn verified(token: &str) -> Result<Value, Refusal> {
    let no = |message: &str| Refusal(StatusCode::UNAUTHORIZED, "PGRST301".into(), message.into());
    let (signed, given) = token.rsplit_once('.').ok_or_else(|| no("Expected 3 parts in JWT; got 1"))?;
    let given = URL_SAFE_NO_PAD.decode(given).map_err(|_| no("JWSError JWSInvalidSignature"))?;
    let mac = signature(signed).ok_or_else(|| no("JWSError KeyMgmtError"))?;
    mac.verify_slice(&given).map_err(|_| no("JWSError JWSInvalidSignature"))?;
    let claims = signed.split_once('.').and_then(|(_, claims)| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: Value =
        claims.and_then(|c| serde_json::from_slice(&c).ok()).ok_or_else(|| no("JWT cannot be parsed"))?;
    if claims["exp"].as_u64().is_some_and(|expires| expires <= now()) {
        return Err(no("JWT expired"));
    }
    Ok(claims)
}

fn signature(signed: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(JWT_SECRET).ok()?;
    mac.update(signed.as_bytes());
    Some(mac)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
