"""Signing in by an OpenID provider: it proves who somebody is, and nothing that it says wrongly is believed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from models.reads.people import list_persons, person_of
from models.rules.errors import OidcUnreachable, SignInBusy, SignInRefused
from net.oidc import Passage, Provider
from tasks.context import Context
from tasks.people import oidc, persons, sign_ins
from tasks.people.sign_ins import Browser
from tests.conftest import settings_for
from tests.support.oidc_provider import OidcProvider, Unusable, Wrong, oidc_provider
from tests.support.persons import person

BACK = "https://console.example/login/oidc/back"
AWAY = {Wrong.FAILS: "HTTP 500", Wrong.ENDLESS_ANSWER: "AnswerTooLong"}
"""With these nobody is refused: the provider fails."""


@dataclass
class House:
    """A console and the provider that it is set to."""

    context: Context
    provider: OidcProvider

    def set(self, **environ: str) -> None:
        """The console with these settings, started anew."""
        home = self.context.settings.blankforms_home
        home.mkdir(exist_ok=True)
        settings = settings_for(
            home,
            OIDC_ISSUER=self.provider.issuer,
            OIDC_CLIENT_ID=self.provider.client_id,
            OIDC_CLIENT_SECRET=self.provider.client_secret,
            NOTIFICATION_KEY="k" * 32,
            **environ,
        )
        self.context = replace(self.context, settings=settings)

    def come_in(self) -> int:
        """All of a browser's way: to the provider and back."""
        begun = oidc.begin(self.context, BACK)
        came = self.provider.visit(begun.url)
        return oidc.finish(self.context, begun.kept, came["state"], came["code"], BACK)

    def asked(self, path: str) -> int:
        return sum(one.endswith(path) for one in self.provider.asked)


@pytest.fixture
def house(world):
    person(world, "wang")
    with oidc_provider() as provider:
        house = House(world.context, provider)
        house.set()
        yield house


def id_of(world, login):
    with world.context.database.read() as session:
        return person_of(session, login).id


class TestWhoTheProviderProves:
    @pytest.mark.parametrize("basic", [True, False], ids=["basic", "form"])
    def test_is_signed_in_as_the_person_of_that_login(self, world, house, basic):
        house.provider.basic = basic
        person(world, "li")
        for login, whom in (("li", "li"), ("WANG", "wang")):
            house.provider.login = login
            token = sign_ins.begin(house.context, house.come_in(), Browser("192.0.2.7"))
            assert sign_ins.who(world.context, token, doing=True).login == whom

    def test_is_nobody_here_before_they_are_added(self, world, house):
        house.provider.login = "zhao"
        with pytest.raises(SignInRefused):
            house.come_in()
        with world.context.database.read() as session:
            assert [p["login"] for p in list_persons(session)] == ["wang"]
        person(world, "zhao")
        assert house.come_in() == id_of(world, "zhao")

    def test_is_refused_when_disabled(self, world, house):
        persons.set_disabled(world.context, "wang", disabled=True)
        with pytest.raises(SignInRefused) as refused:
            house.come_in()
        assert str(refused.value) == str(SignInRefused())

    @pytest.mark.parametrize(
        "login",
        [None, 7, "", ["wang"], "wang ", "wang\n", "wang\0", "' OR 1=1 --", "w" * 33, "王芳"],
    )
    def test_is_nobody_by_a_claim_that_is_no_login(self, house, login):
        house.provider.login = login
        with capture_logs() as said, pytest.raises(SignInRefused):
            house.come_in()
        assert "preferred_username is no login" in str(said)

    def test_is_known_by_the_claim_of_the_settings(self, world, house):
        person(world, "0017")
        house.set(OIDC_LOGIN_CLAIM="employee")
        house.provider.more = {"employee": "0017"}
        assert house.come_in() == id_of(world, "0017")

    def test_is_known_by_an_address_of_mail_only_when_the_provider_has_verified_it(
        self, world, house
    ):
        person(world, "wang@example.com")
        house.set(OIDC_LOGIN_CLAIM="email")
        for verified in ({}, {"email_verified": False}, {"email_verified": "no"}):
            house.provider.more = {"email": "wang@example.com", **verified}
            with pytest.raises(SignInRefused):
                house.come_in()
        house.provider.more = {"email": "Wang@Example.com", "email_verified": True}
        assert house.come_in() == id_of(world, "wang@example.com")


class TestAnAnswer:
    @pytest.mark.parametrize("wrong", [w for w in Wrong if w not in AWAY])
    def test_that_proves_nobody_is_refused_always_in_the_same_words(self, house, wrong):
        house.provider.wrong = wrong
        with capture_logs() as said, pytest.raises(SignInRefused) as refused:
            house.come_in()
        assert str(refused.value) == str(SignInRefused())
        (entry,) = (s for s in said if s["event"] == "oidc_refused")
        assert entry["reason"]
        assert house.provider.client_secret not in str(said)
        assert "eyJ" not in str(said)
        house.provider.wrong = None
        house.come_in()  # nothing else was wrong

    def test_is_good_for_one_sign_in(self, house):
        begun = oidc.begin(house.context, BACK)
        came = house.provider.visit(begun.url)
        oidc.finish(house.context, begun.kept, came["state"], came["code"], BACK)
        with pytest.raises(SignInRefused):
            oidc.finish(house.context, begun.kept, came["state"], came["code"], BACK)

    def test_to_another_browser_is_not_this_ones(self, house):
        """Whoever slips their own answer to somebody, or takes somebody else's, has the wrong half."""
        mine, theirs = (oidc.begin(house.context, BACK) for _ in range(2))
        came = house.provider.visit(theirs.url)
        asked = house.asked("/token")
        for kept, state in ((mine.kept, came["state"]), (mine.kept, ""), ("", came["state"]),
                            (theirs.kept, "é" + came["state"])):  # fmt: skip
            with pytest.raises(SignInRefused):
                oidc.finish(house.context, kept, state, came["code"], BACK)
        assert house.asked("/token") == asked
        state = house.provider.visit(mine.url)["state"]
        with pytest.raises(SignInRefused):  # by PKCE: the code is of the other's way
            oidc.finish(house.context, mine.kept, state, came["code"], BACK)

    def test_after_ten_minutes_is_too_late(self, world, house):
        begun = oidc.begin(house.context, BACK)
        came = house.provider.visit(begun.url)
        world.clock.ahead += timedelta(minutes=10, seconds=2)
        with capture_logs() as said, pytest.raises(SignInRefused):
            oidc.finish(house.context, begun.kept, came["state"], came["code"], BACK)
        assert "too old" in str(said)

    def test_of_another_system_or_changed_on_the_way_is_not_ours(self, house):
        begun = oidc.begin(house.context, BACK)
        came = house.provider.visit(begun.url)
        changed = begun.kept[:-6] + ("A" if begun.kept[-6] != "A" else "B") + begun.kept[-5:]
        for kept in (changed, begun.kept[:-1], "é", "x" * 5000):
            with pytest.raises(SignInRefused):
                oidc.finish(house.context, kept, came["state"], came["code"], BACK)
        other = SecretStr("j" * 32)
        there = replace(house.context, settings=house.context.settings.model_copy(
            update={"notification_key": other}))  # fmt: skip
        with pytest.raises(SignInRefused):
            oidc.finish(there, begun.kept, came["state"], came["code"], BACK)
        assert oidc.finish(house.context, begun.kept, came["state"], came["code"], BACK)

    @pytest.mark.parametrize("code", ["", "unknown", "\udce9", "x" * 5000])
    def test_without_a_code_of_the_provider_is_refused(self, house, code):
        begun = oidc.begin(house.context, BACK)
        came = house.provider.visit(begun.url)
        with pytest.raises(SignInRefused):
            oidc.finish(house.context, begun.kept, came["state"], code, BACK)

    def test_by_whoever_took_what_the_browser_keeps_shows_neither_nonce_nor_verifier(self, house):
        begun = oidc.begin(house.context, BACK)
        came = house.provider.visit(begun.url)
        (grant,) = house.provider.grants.values()
        assert came["state"] not in begun.kept
        assert grant.nonce not in begun.kept
        assert len(begun.kept) < 1000  # a cookie


class TestTheProvider:
    @pytest.mark.parametrize("wrong", AWAY)
    def test_that_fails_refuses_nobody(self, house, wrong):
        house.provider.wrong = wrong
        with pytest.raises(OidcUnreachable, match=AWAY[wrong]):
            house.come_in()
        house.provider.wrong = None
        house.come_in()

    def test_that_is_away_refuses_nobody(self, house):
        began = oidc.begin(house.context, BACK)
        came = house.provider.visit(began.url)
        with oidc_provider() as other:
            house.provider.url = other.url  # nobody will listen there
        house.set()
        with capture_logs() as said, pytest.raises(OidcUnreachable) as away:
            oidc.begin(house.context, BACK)
        assert "暂时不可用(ConnectError)" in str(away.value)
        assert [s["reason"] for s in said] == ["ConnectError"]
        with pytest.raises(OidcUnreachable):
            oidc.finish(house.context, began.kept, came["state"], came["code"], BACK)

    def test_that_hangs_is_not_waited_for(self, world, house):
        provider = Provider(house.provider.issuer, "blankforms", "s", timeout_seconds=0.2)
        house.provider.hangs = True
        began = time.monotonic()
        with pytest.raises(OidcUnreachable, match="TimeoutError"):
            provider.address(Passage("s", "n", "v" * 43), BACK, "openid", world.clock())
        assert time.monotonic() - began < 5

    def test_that_hangs_takes_few_threads_of_a_process(self, world, house):
        """Whoever signs in by a password needs the others."""
        house.provider.hangs = True
        with ThreadPoolExecutor(4) as pool:
            stuck = [pool.submit(oidc.begin, house.context, BACK) for _ in range(4)]
            for _ in stuck:
                house.provider.waiting.acquire()
            with pytest.raises(SignInBusy):
                oidc.begin(house.context, BACK)
            house.provider.ends.set()
        assert all(one.result() for one in stuck)
        house.come_in()

    @pytest.mark.parametrize("unusable", Unusable)
    def test_that_says_of_itself_what_cannot_be_is_not_used(self, house, unusable):
        house.provider.unusable = unusable
        with pytest.raises(OidcUnreachable):
            house.come_in()
        assert house.asked("/elsewhere") == 0
        house.provider.unusable = None
        house.come_in()

    def test_that_redirects_is_not_followed_with_our_secret(self, house):
        house.provider.wrong = Wrong.REDIRECT
        with pytest.raises(SignInRefused):
            house.come_in()
        assert house.asked("/moved") == 0

    def test_is_asked_once_in_ten_minutes_for_what_it_says_of_itself(self, world, house):
        for _ in range(3):
            house.come_in()
        assert (house.asked("openid-configuration"), house.asked("/keys")) == (1, 1)
        world.clock.ahead += timedelta(minutes=10)
        with pytest.raises(SignInRefused):  # its clock stands where ours was
            house.come_in()
        assert (house.asked("openid-configuration"), house.asked("/keys")) == (2, 2)

    def test_that_signs_with_another_key_from_now_on_is_believed_at_once(self, house):
        house.come_in()
        house.provider.rotate()
        house.come_in()
        house.come_in()
        assert house.asked("/keys") == 2

    def test_that_signs_with_a_key_it_does_not_give_out_is_asked_once_more_and_no_more(self, house):
        house.come_in()
        house.provider.wrong = Wrong.UNKNOWN_KEY
        with pytest.raises(SignInRefused):
            house.come_in()
        assert house.asked("/keys") == 2

    def test_that_does_not_know_our_secret_signs_nobody_in(self, house):
        house.provider.client_secret = "another"
        with capture_logs() as said, pytest.raises(SignInRefused):
            house.come_in()
        assert "invalid_client" in str(said)

    def test_that_is_not_set_or_a_system_without_a_root_of_secrets_signs_nobody_in(
        self, world, house
    ):
        bare = house.context.settings.model_copy(update={"oidc_issuer": ""})
        with pytest.raises(SignInRefused):
            oidc.begin(replace(house.context, settings=bare), BACK)
        bare = house.context.settings.model_copy(update={"notification_key": None})
        with pytest.raises(OidcUnreachable, match="NOTIFICATION_KEY"):
            oidc.begin(replace(house.context, settings=bare), BACK)
