"""Every value that a deployment may choose: typed, with its unit and reason, checked at start.

Nothing but this package reads `os.environ`: here all of it, and what is needed alone and at once in
`config.crash` and `config.language`. A `.env` file in the working directory is read too; the environment wins.
A secret `NAME` may be given as `NAME_FILE`, the path of a file that holds it. What is wrong is said with the
name of the setting (`ConfigurationError`).
"""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import sha256
from ipaddress import ip_address, ip_network
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo

from config.crash import SWITCH
from config.errors import ConfigurationError
from config.names import SIMULATOR

_SOCKET_PATH_LIMIT: Final = 100
"""Unix socket paths end at 107 bytes on Linux, some of which the broker adds itself."""

SIMULATOR_SENDER: Final = "91610131MA6TXQ0D1U"
"""Sender of the embedded system: the agent of the samples."""

SIMULATOR_TOKEN: Final = "simulator"  # noqa: S105 - the simulator listens on loopback, guards nothing

Secret = Annotated[SecretStr, "secret"]


_KEY_BYTES: Final = 32
"""Shorter than that a key can be guessed."""

_PORTS: Final = {"http": 80, "https": 443}

_ENTERPRISE_CODE: Final = re.compile(r"[0-9A-HJ-NPQRTUWXY]{18}")


class Settings(BaseModel):
    """The settings of one process, frozen. Field `name` comes from environment `NAME`."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)

    blankforms_home: Path = Field(
        default=Path("var"), description="数据目录 / folder of all embedded data"
    )
    blankforms_env: Literal["development", "production"] = Field(
        default="development",
        description="production 拒绝模拟海关及其密钥文件 / refuses simulator and key file",
    )
    blankforms_lang: Literal["zh", "en"] = Field(default="zh", description="zh 或 en")
    blankforms_key_file: Path | None = Field(
        default=None,
        description="密钥文件：命令以其所有人的身份办理 / commands act as the owner of this key",
    )
    database_url: Secret | None = Field(default=None, description="不设则用内嵌 SQLite")
    broker_url: Secret | None = Field(default=None, description="不设则用内嵌消息队列")
    worker_concurrency: int = Field(default=2, ge=1, le=64, description="工作进程数")

    enterprise_code: str = Field(
        default="", description="持卡(发送)企业的统一社会信用代码 / USCC of the sender"
    )
    customs_url: str | None = Field(default=None, description="海关网关地址；不设则用模拟海关")
    customs_token: Secret | None = Field(default=None, description="网关令牌 / bearer token")
    callback_secrets: Secret | None = Field(
        default=None, description="回调密钥，多个以空格分隔(轮换时) / several while rotating"
    )
    send_concurrency: int = Field(default=16, ge=1, le=512, description="同时发送数")
    send_deadline_seconds: float = Field(default=60, gt=0, description="一次发送的总时限，秒")
    lease_seconds: float = Field(
        default=180, gt=0, description="发送占用期，秒；须大于发送时限 / must exceed the deadline"
    )
    settle_seconds: float = Field(
        default=300, ge=0, description="海关答复“无此报文”何时可信，秒 / contract section 2"
    )
    poll_seconds: float = Field(
        default=10,
        gt=0,
        description="有报文待回执时取回执的最长间隔，秒；没有时为其 6 倍，刚发出时自动缩短到 1 秒",
    )
    sweep_seconds: float = Field(default=5, gt=0, description="巡检间隔，秒")
    reservation_hours: float = Field(default=24, gt=0, description="预占多久未发出则释放，小时")
    upload_max_mb: int = Field(default=100, ge=1, le=1024, description="上传文件上限，MB")

    reconcile_hour: int = Field(
        default=2, ge=0, le=23, description="每晚对账的钟点(北京时间) / hour of the nightly run"
    )
    moving_minutes: float = Field(
        default=15, ge=0, description="对账时变动未满多久的证单留到下一晚，分钟"
    )
    no_answer_hours: float = Field(default=24, gt=0, description="提交多久无回执算逾期，小时")
    anchor_folder: Path | None = Field(
        default=None, description="锚文件目录，宜放在另一存储上；默认在数据目录 / anchors"
    )
    journal_folder: Path | None = Field(
        default=None,
        description="发送日志目录，宜放在数据库以外的存储上；默认在数据目录 / send journal",
    )
    low_stock: int = Field(default=50, ge=0, description="低库存警戒线，张；可按企业和类型另设")
    restock_days: int = Field(default=10, ge=0, description="申领到货所需天数 / lead time")
    cover_days: int = Field(default=60, ge=1, description="一次申领够用多少天")
    notification_key: Secret | None = Field(
        default=None,
        description="通知密钥的根，至少 32 个字符；各进程须相同 / root of endpoint secrets",
    )
    notify_networks: str = Field(
        default="", description="通知可发往的内网网段，以空格分隔 / private networks allowed"
    )

    pkcs11_module: Path | None = Field(
        default=None, description="卡的 PKCS#11 库；不设则用密钥文件"
    )
    pkcs11_token_label: str = Field(default="", description="卡的标签 / token label")
    pkcs11_token_serial: str = Field(
        default="", description="卡的序列号，几张卡标签相同时 / when several have the label"
    )
    pkcs11_key_label: str = Field(default="", description="密钥标签 / key label")
    pkcs11_key_id: str = Field(
        default="", description="密钥 ID(十六进制)，几个密钥标签相同时 / key id, hex"
    )
    pkcs11_certificate_serial: str = Field(
        default="",
        description="证书序列号(十六进制)，几个证书与密钥配对时 / serial of the certificate, hex",
    )
    pkcs11_pin_file: Path | None = Field(
        default=None, description="口令文件；登录签名卡时才读，改正后不必重启"
    )
    wire_profile: Literal["bcm-1"] = Field(
        default="bcm-1", description="与海关往来报文的规格 / the wire that customs speaks"
    )
    signature_profile: Literal["rsa-sha256", "sm2-sm3"] = Field(
        default="rsa-sha256", description="rsa-sha256 或 sm2-sm3"
    )
    signature_mechanism: int | None = Field(
        default=None, description="厂商机制号，如 0x80008100(SM2) / vendor mechanism number"
    )

    port: int = Field(default=8600, ge=1, le=65535, description="回调服务端口 / webhook port")
    bind: str = Field(default="127.0.0.1", description="回调服务监听地址 / webhook address")
    console_port: int = Field(
        default=8800, ge=1, le=65535, description="接口与页面端口 / port of API and pages"
    )
    console_bind: str = Field(
        default="127.0.0.1", description="接口与页面监听地址 / address of API and pages"
    )
    console_hosts: str = Field(
        default="",
        description="浏览器和程序可用的主机名，以空格分隔；不设则不限 / host names, none: any",
    )
    trusted_proxies: int = Field(
        default=0, ge=0, le=4, description="前面有几层代理 / how many proxies stand in front"
    )
    api_calls: int = Field(
        default=1000, ge=0, description="每人每 10 秒至多调用接口次数，0 不限 / calls in 10 s"
    )
    sign_in_idle_minutes: int = Field(
        default=60, ge=1, le=1440, description="页面无操作多少分钟后须重新登录 / idle end"
    )
    sign_in_hours: int = Field(
        default=12, ge=1, le=168, description="登录后至多多少小时须重新登录 / absolute end"
    )
    oidc_issuer: str = Field(
        default="", description="统一身份认证(OIDC)的地址；不设则只用口令 / issuer, none: passwords"
    )
    oidc_client_id: str = Field(default="", description="在该处登记的客户端 / client id there")
    oidc_client_secret: Secret | None = Field(
        default=None, description="客户端密钥；只给页面进程 / client secret, for the pages alone"
    )
    oidc_login_claim: str = Field(
        default="preferred_username",
        min_length=1,
        description="其中哪一项是本系统的登录名 / claim that is the login here",
    )
    simulator_port: int = Field(default=8700, ge=1, le=65535, description="模拟海关端口")
    simulator_delay_seconds: float = Field(default=1, ge=0, description="模拟海关审核用时，秒")
    simulator_answer_seconds: float = Field(
        default=0,
        ge=0,
        le=60,
        description="模拟海关答复每次请求前等待，秒 / latency of its answers",
    )
    simulator_faults: Path | None = Field(default=None, description="模拟海关故障脚本(JSON)")

    tz: str = Field(default="Asia/Shanghai", description="显示时间所用时区")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="日志级别 / lowest level that is logged"
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="日志格式：给人看或给机器读 / for people or for machines"
    )

    @field_validator("signature_mechanism", mode="before")
    @classmethod
    def _any_base(cls, value: object) -> object:
        return int(value, 0) if isinstance(value, str) else value

    @field_validator("pkcs11_key_id", "pkcs11_certificate_serial")
    @classmethod
    def _hex(cls, value: str) -> str:
        return bytes.fromhex(value).hex().upper()

    @field_validator("pkcs11_token_label", "pkcs11_token_serial", "pkcs11_key_label")
    @classmethod
    def _unpadded(cls, value: str) -> str:
        return value.rstrip()  # tokens pad their labels with blanks, and some tools print them

    @field_validator("tz")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("not a time zone") from error
        return value

    @field_validator("notify_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        for part in value.split():
            ip_network(part, strict=False)
        return value

    @field_validator("blankforms_home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    # -- what follows from the settings ---------------------------------------------------------

    @property
    def simulated(self) -> bool:
        """Customs is the simulator, because no CUSTOMS_URL is set."""
        return self.customs_url is None

    @property
    def sender(self) -> str:
        """USCC of the enterprise whose card signs."""
        return self.enterprise_code or SIMULATOR_SENDER

    @property
    def customs(self) -> str:
        """Which customs this is: the simulator's name, or the origin of CUSTOMS_URL."""
        return origin_of(self.customs_url) if self.customs_url else SIMULATOR

    @property
    def gateway_url(self) -> str:
        """Where customs answers."""
        return (self.customs_url or f"http://127.0.0.1:{self.simulator_port}").rstrip("/")

    @property
    def gateway_token(self) -> str:
        """Token of every call to customs."""
        return self.customs_token.get_secret_value() if self.customs_token else SIMULATOR_TOKEN

    @property
    def database_file(self) -> Path:
        """Where the embedded database is."""
        return self.blankforms_home / "blankforms.db"

    @property
    def sqlalchemy_url(self) -> str:
        """Database address; `postgres://` and `postgresql://` mean psycopg 3."""
        if self.database_url is None:
            return f"sqlite:///{self.database_file}"
        url = self.database_url.get_secret_value()
        for scheme in ("postgres://", "postgresql://"):
            if url.startswith(scheme):
                return "postgresql+psycopg://" + url.removeprefix(scheme)
        return url

    @cached_property
    def broker_socket(self) -> Path:
        """Unix socket of the embedded broker; in the temporary folder when the path is long."""
        socket = self.blankforms_home / "broker.sock"
        if len(str(socket)) <= _SOCKET_PATH_LIMIT:
            return socket
        name = sha256(str(self.blankforms_home).encode()).hexdigest()[:12]
        return Path(gettempdir()) / f"blankforms-{os.getuid()}-{name}" / "broker.sock"

    @property
    def celery_broker_url(self) -> str:
        """Broker address as Celery takes it."""
        if self.broker_url is None:
            return f"redis+socket://{self.broker_socket}"
        return self.broker_url.get_secret_value()

    @property
    def secrets_of_callbacks(self) -> list[str]:
        """Secrets that a callback may be signed with; the embedded system keeps one in a file."""
        if self.callback_secrets is not None:
            return self.callback_secrets.get_secret_value().split()
        if self.simulated and self.simulator_secret_file.exists():
            return [self.simulator_secret_file.read_text().strip()]
        return []

    @property
    def simulator_folder(self) -> Path:
        """What the embedded simulator keeps: its ledger and its secret. Not the product's data."""
        return self.blankforms_home / "simulator"

    @property
    def simulator_secret_file(self) -> Path:
        """Secret that the embedded simulator signs its callbacks with."""
        return self.simulator_folder / "callback-secret"

    @property
    def notification_key_file(self) -> Path:
        """Where the embedded system keeps the root of its endpoints' secrets."""
        return self.blankforms_home / "notification-key"

    @property
    def root_of_secrets(self) -> bytes | None:
        """The key that endpoints' secrets are derived from; None when this process has none."""
        if self.notification_key is not None:
            return self.notification_key.get_secret_value().encode()
        if self.database_url is None and self.notification_key_file.exists():
            return self.notification_key_file.read_bytes()
        return None

    @property
    def anchors(self) -> Path:
        """Where the anchors of the history are written each night."""
        return self.anchor_folder or self.blankforms_home / "anchors"

    @property
    def journal_file(self) -> Path:
        """Where it is noted what was sent, outside the database."""
        return (self.journal_folder or self.blankforms_home / "journal") / "sent"

    @property
    def key_folder(self) -> Path:
        """Folder of the key file, of the PIN latch and of the card's lock file."""
        return self.blankforms_home / "card"

    @property
    def zone(self) -> ZoneInfo:
        """Zone of the times shown to people."""
        return ZoneInfo(self.tz)

    def read_pin(self) -> str:
        """The card's PIN as its file has it now. Raises OSError, ValueError (no text, or empty)."""
        if self.pkcs11_pin_file is None:
            raise ValueError("no PKCS11_PIN_FILE")
        pin = self.pkcs11_pin_file.read_text(encoding="utf-8").strip()
        if not pin:  # an empty PIN would cost a try of the card
            raise ValueError(f"PKCS11_PIN_FILE: {self.pkcs11_pin_file} is empty")
        return pin

    def require_pin(self) -> None:
        """For the process that opens the card, and no other. Raises `ConfigurationError`."""
        if self.pkcs11_module is None:
            return
        if self.pkcs11_pin_file is None:
            raise ConfigurationError("PKCS11_PIN_FILE: needed with PKCS11_MODULE")
        try:
            self.read_pin()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"PKCS11_PIN_FILE: {error}") from None

    def require_oidc(self) -> None:
        """For the process that persons sign in at, and no other. Raises `ConfigurationError`."""
        if not self.oidc_issuer:
            return
        wrong = []
        if self.oidc_client_secret is None:
            wrong.append("OIDC_CLIENT_SECRET or OIDC_CLIENT_SECRET_FILE: needed with OIDC_ISSUER")
        if self.root_of_secrets is None:
            wrong.append("NOTIFICATION_KEY or NOTIFICATION_KEY_FILE: needed with OIDC_ISSUER")
        if wrong:
            raise ConfigurationError("; ".join(wrong))

    def shown(self) -> dict[str, str]:
        """Every setting by its environment name; secrets masked."""
        values: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            masked = "********" if isinstance(value, SecretStr) else value
            values[name.upper()] = "" if masked is None else str(masked)
        return values


def origin_of(url: str) -> str:
    """Scheme, host and port of an address, always written the same way. Raises `ConfigurationError`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"CUSTOMS_URL: {error}") from None
    if parts.scheme not in _PORTS or not host:
        raise ConfigurationError("CUSTOMS_URL: must begin with http:// or https://")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{port or _PORTS[parts.scheme]}"


def is_secret(field: FieldInfo) -> bool:
    """Whether a field of `Settings` holds a secret."""
    return "SecretStr" in str(field.annotation)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of this process once, at its start.

    Raises `ConfigurationError` naming each setting that is wrong.
    """
    if environ is None:
        environ = {k: v for k, v in dotenv_values(".env").items() if v is not None} | os.environ
    values: dict[str, str] = {}
    for name, field in Settings.model_fields.items():
        key = name.upper()
        if value := environ.get(key, ""):
            values[name] = value
        elif is_secret(field) and (path := environ.get(f"{key}_FILE", "")):
            values[name] = _secret_from(f"{key}_FILE", path)
    if environ.get(SWITCH) and environ.get("BLANKFORMS_ENV") == "production":
        raise ConfigurationError(f"{SWITCH}: not in production")
    if environ.get("PKCS11_PIN"):
        raise ConfigurationError("PKCS11_PIN: 请改用 PKCS11_PIN_FILE / use PKCS11_PIN_FILE")
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        parts = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError("; ".join(parts)) from None
    _check_together(settings)
    return settings


def _secret_from(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _is_callback_secret(secret: str) -> bool:
    """Standard Webhooks: whsec_ and 24-64 random bytes in base64."""
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    return secret.startswith("whsec_") and len(key) in range(24, 65)


def is_sealed(url: str) -> bool:
    """Whether a secret travels unseen: over TLS, or to an address inside (a front-end machine)."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    try:
        return ip_address(parts.hostname or "").is_private
    except ValueError:
        return parts.hostname == "localhost"


def _check_together(settings: Settings) -> None:
    """Rules over several settings; each error names the settings concerned."""
    parts = (
        *(_wrong_with_customs, _wrong_with_secrets, _wrong_with_the_card, _wrong_with_oidc),
        _wrong_in_production,
    )
    wrong = [said for part in parts for said in part(settings)]
    if wrong:
        raise ConfigurationError("; ".join(wrong))


def _wrong_with_customs(settings: Settings) -> Iterator[str]:
    if settings.lease_seconds <= settings.send_deadline_seconds:
        yield "LEASE_SECONDS: must be greater than SEND_DEADLINE_SECONDS"
    if settings.enterprise_code and not _ENTERPRISE_CODE.fullmatch(settings.enterprise_code):
        yield "ENTERPRISE_CODE: not a unified social credit code (18, GB 32100)"
    if settings.customs_url is None:
        return
    try:
        origin_of(settings.customs_url)
    except ConfigurationError as error:
        yield str(error)
    if urlsplit(settings.customs_url).username is not None:
        yield "CUSTOMS_URL: no user or password in it; the token is CUSTOMS_TOKEN_FILE"
    if not settings.enterprise_code:
        yield "ENTERPRISE_CODE: needed with CUSTOMS_URL"
    if settings.customs_token is None:
        yield "CUSTOMS_TOKEN or CUSTOMS_TOKEN_FILE: needed with CUSTOMS_URL"


def _wrong_with_secrets(settings: Settings) -> Iterator[str]:
    if settings.callback_secrets is not None and not all(
        _is_callback_secret(s) for s in settings.secrets_of_callbacks
    ):
        yield "CALLBACK_SECRETS: each must be whsec_ and base64 of 24-64 bytes"
    if settings.notification_key is not None and len(settings.root_of_secrets or b"") < _KEY_BYTES:
        yield f"NOTIFICATION_KEY: at least {_KEY_BYTES} characters"


def _wrong_with_the_card(settings: Settings) -> Iterator[str]:
    if settings.pkcs11_module is None:
        return
    if not settings.pkcs11_module.exists():
        yield f"PKCS11_MODULE: {settings.pkcs11_module} does not exist"
    if not settings.pkcs11_token_label:
        yield "PKCS11_TOKEN_LABEL: needed with PKCS11_MODULE"
    if not (settings.pkcs11_key_label or settings.pkcs11_key_id):
        yield "PKCS11_KEY_LABEL or PKCS11_KEY_ID: needed with PKCS11_MODULE"
    if settings.signature_profile == "sm2-sm3" and settings.signature_mechanism is None:
        yield "SIGNATURE_MECHANISM: needed with SIGNATURE_PROFILE=sm2-sm3"


def _wrong_with_oidc(settings: Settings) -> Iterator[str]:
    issuer = settings.oidc_issuer
    if not issuer:
        return
    try:
        parts = urlsplit(issuer)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        yield f"OIDC_ISSUER: {error}"
        return
    if parts.scheme not in _PORTS or not host:
        yield "OIDC_ISSUER: must begin with http:// or https://"
    elif not is_sealed(issuer):
        yield "OIDC_ISSUER: https://, but for a private address"
    if parts.username is not None or parts.query or parts.fragment:
        yield "OIDC_ISSUER: no user, query or fragment in it"
    if not settings.oidc_client_id:
        yield "OIDC_CLIENT_ID: needed with OIDC_ISSUER"


def _wrong_in_production(settings: Settings) -> Iterator[str]:
    if settings.blankforms_env != "production":
        return
    if settings.simulated:
        yield "CUSTOMS_URL: needed in production, the simulator is refused"
    elif not is_sealed(settings.gateway_url):
        yield "CUSTOMS_URL: https:// in production, but for a private address"
    if settings.pkcs11_module is None:
        yield "PKCS11_MODULE: needed in production, the key file is refused"
    if settings.oidc_issuer.lower().startswith(
        "http:"
    ):  # whoever answers there can be anybody here
        yield "OIDC_ISSUER: https:// in production"
    if settings.settle_seconds == 0:
        yield "SETTLE_SECONDS: more than 0 in production (contract section 2)"
