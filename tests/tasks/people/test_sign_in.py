"""Signing in: passwords, pauses after wrong ones, how long it lasts, a second factor, the way back in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import select

from models.reads.endorsements import list_endorsements
from models.reads.people import list_acts
from models.reads.sign_ins import passwords_given
from models.rules.errors import (
    KeyRefused,
    NotAllowed,
    PasswordUnusable,
    PersonNeeded,
    SecondFactorUnusable,
    SignInPaused,
    SignInRefused,
)
from models.rules.people import Actor, Channel, Role, Scope
from models.rules.sign_in import Counted, pause_after
from models.tables.people import Person
from models.tables.sign_ins import SignIn
from tasks.people import endorsing, keys, passwords, persons, second_factor, sign_ins
from tasks.people.sign_ins import Browser
from tests.support.persons import by_key, person, turn_on

HERE = Browser("192.0.2.7", "Firefox")
OWN = "copper kettle under rain"
ACCOUNT = Actor("root", Channel.COMMAND)


def acting(world, actor):
    return replace(world.context, actor=actor)


def give_root_of_secrets(world):
    world.context.settings.blankforms_home.mkdir(exist_ok=True)
    world.context.settings.notification_key_file.write_bytes(b"k" * 32)


def with_password(world, login="wang", *roles) -> str:
    """A person who has chosen an own password."""
    person(world, login, *roles)
    given, _ = passwords.give_one_time(world.context, login)
    token = sign_ins.sign_in(world.context, login, given, "", HERE)
    passwords.choose(signed(world, token), given, OWN)
    return login


def signed(world, token):
    """The context of whoever has this token."""
    return acting(world, sign_ins.who(world.context, token, doing=True).actor)


def come_in(world, login="wang", password=OWN, code="", browser=HERE):
    return sign_ins.sign_in(world.context, login, password, code, browser)


class TestAPassword:
    def test_that_was_given_is_for_choosing_an_own_one_and_is_kept_as_a_hash_alone(self, world):
        person(world)
        given, asked = passwords.give_one_time(world.context, "wang")
        assert asked is None
        token = come_in(world, password=given)
        assert sign_ins.who(world.context, token, doing=True).must_choose
        passwords.choose(signed(world, token), given, OWN)
        assert not sign_ins.who(world.context, token, doing=True).must_choose
        assert come_in(world, " Wang ")
        with pytest.raises(SignInRefused):
            come_in(world, password=given)
        with world.context.database.read() as session:
            (kept,), signs = session.scalars(select(Person)), list(session.scalars(select(SignIn)))
        assert kept.password_hash.startswith("$argon2id$")
        assert token not in str([vars(s) for s in signs])

    def test_that_was_given_ends_after_three_days(self, world):
        person(world)
        given, _ = passwords.give_one_time(world.context, "wang")
        world.clock.ahead += timedelta(hours=73)
        with pytest.raises(SignInRefused):
            come_in(world, password=given)

    @pytest.mark.parametrize(
        "password",
        [
            "short",
            "1234567890",
            "password123",
            "wangwang2026",
            "1qaz2wsx3edc",
            "aaaaaaaaaaaaaa",
            "x" * 129,
        ],
    )
    def test_that_others_would_guess_is_not_taken(self, password):
        with pytest.raises(PasswordUnusable):
            passwords.judge(password, "wangwang", "王芳")

    @pytest.mark.parametrize("password", [OWN, "空白证单核销口令很长", "Xi'an-2026-forms"])
    def test_of_some_unrelated_words_is_taken(self, password):
        passwords.judge(password, "wangwang", "王芳")

    def test_is_chosen_by_who_knows_the_one_before_and_their_other_browsers_are_signed_out(
        self, world
    ):
        with_password(world)
        here, there = come_in(world), come_in(world)
        with pytest.raises(PasswordUnusable):
            passwords.choose(signed(world, here), "wrong", "another kettle under snow")
        passwords.choose(signed(world, here), OWN, "another kettle under snow")
        sign_ins.who(world.context, here, doing=True)
        with pytest.raises(SignInRefused):
            sign_ins.who(world.context, there, doing=True)


class TestASignIn:
    @pytest.mark.parametrize("how", ["unknown", "wrong", "disabled", "no password", "no login"])
    def test_that_is_not_right_is_refused_always_in_the_same_words(self, world, how):
        with_password(world)
        person(world, "li")
        if how == "disabled":
            persons.set_disabled(world.context, "wang", disabled=True)
        login = {"unknown": "zhao", "no password": "li", "no login": "' OR 1=1 --"}.get(how, "wang")
        with pytest.raises(SignInRefused) as refused:
            come_in(world, login, "wrong" if how == "wrong" else OWN)
        assert str(refused.value) == str(SignInRefused())

    def test_that_was_wrong_too_often_waits_longer_each_time_the_right_password_too(self, world):
        with_password(world)
        for n in range(10):
            world.clock.ahead += timedelta(minutes=6)
            with pytest.raises(SignInRefused):
                come_in(world, password="wrong", browser=Browser(f"192.0.2.{n}"))
        with pytest.raises(SignInPaused):  # of half a minute
            come_in(world)
        world.clock.ahead += timedelta(minutes=6)
        assert come_in(world)
        with pytest.raises(SignInRefused):  # forgiven: it counts from the beginning
            come_in(world, password="wrong")
        assert come_in(world)

    def test_from_an_address_that_guesses_logins_waits_and_nobody_elsewhere(self, world):
        with_password(world)
        for n in range(21):
            with pytest.raises(SignInRefused):
                come_in(world, f"user{n}")
        with pytest.raises(SignInPaused):
            come_in(world, "user99")
        assert come_in(world, browser=Browser("198.51.100.1"))

    def test_from_one_network_of_ipv6_counts_as_from_one_address(self, world):
        for n in range(21):
            with pytest.raises(SignInRefused):
                come_in(world, f"user{n}", browser=Browser(f"2001:db8:1:2::{n + 1:x}"))
        with pytest.raises(SignInPaused):
            come_in(world, "user99", browser=Browser("2001:db8:1:2:ffff::1"))
        with pytest.raises(SignInRefused):
            come_in(world, "user98", browser=Browser("2001:db8:1:3::1"))

    def test_an_office_that_mistypes_every_day_is_not_kept_out(self, world):
        for n in range(60):
            world.clock.ahead += timedelta(minutes=11)
            with pytest.raises(SignInRefused):
                come_in(world, f"user{n}")

    def test_ends_after_an_hour_of_nothing_done_and_a_page_that_refreshes_itself_does_nothing(
        self, world
    ):
        with_password(world)
        token = come_in(world)
        for _ in range(3):
            world.clock.ahead += timedelta(minutes=50)
            sign_ins.who(world.context, token, doing=True)
        world.clock.ahead += timedelta(minutes=50)
        sign_ins.who(world.context, token, doing=False)
        world.clock.ahead += timedelta(minutes=11)
        with pytest.raises(SignInRefused):
            sign_ins.who(world.context, token, doing=True)

    def test_ends_after_twelve_hours_whatever_is_done(self, world):
        with_password(world)
        token = come_in(world)
        for _ in range(14):
            world.clock.ahead += timedelta(minutes=50)
            sign_ins.who(world.context, token, doing=True)
        world.clock.ahead += timedelta(minutes=50)
        with pytest.raises(SignInRefused):
            sign_ins.who(world.context, token, doing=True)

    @pytest.mark.parametrize("how", ["out", "everywhere", "disabled"])
    def test_ends_when_the_person_signs_out_or_is_disabled(self, world, how):
        with_password(world)
        token, other = come_in(world), come_in(world)
        context = signed(world, token)
        if how == "disabled":
            persons.set_disabled(world.context, "wang", disabled=True)
        else:
            (sign_ins.sign_out if how == "out" else sign_ins.sign_out_everywhere)(context)
        with pytest.raises(SignInRefused):
            sign_ins.who(world.context, token, doing=True)
        if how == "out":
            sign_ins.who(world.context, other, doing=True)
        else:
            with pytest.raises(SignInRefused):
                sign_ins.who(world.context, other, doing=True)


class TestASecondFactor:
    def code(self, world, secret):
        return pyotp.TOTP(secret).at(world.clock())

    def test_is_asked_once_it_is_on_and_each_code_counts_once(self, world):
        give_root_of_secrets(world)
        with_password(world)
        context = signed(world, come_in(world))
        secret, address = second_factor.offered(context)
        assert secret in address
        with pytest.raises(SecondFactorUnusable):
            second_factor.turn_on(context, "000000")
        used = self.code(world, secret)
        second_factor.turn_on(context, used)
        for wrong in ("", "000000", used):
            with pytest.raises(SignInRefused):
                come_in(world, code=wrong)
        world.clock.ahead += timedelta(seconds=30)
        used = self.code(world, secret)
        assert come_in(world, code=used)
        with pytest.raises(SignInRefused):
            come_in(world, code=used)

    def test_that_is_turned_off_and_on_has_another_secret(self, world):
        give_root_of_secrets(world)
        with_password(world)
        context = signed(world, come_in(world))
        first, _ = second_factor.offered(context)
        second_factor.turn_on(context, self.code(world, first))
        world.clock.ahead += timedelta(seconds=60)
        second_factor.turn_off(context, self.code(world, first))
        assert come_in(world)
        second, _ = second_factor.offered(context)
        assert second != first


class TestTheWayBackIn:
    def test_is_the_command_for_an_administrator_and_for_nobody_who_endorses(self, world):
        person(world, "boss", Role.ADMINISTRATOR)
        turn_on(world, "li", "zhao")
        for login in ("li", "zhao"):
            with pytest.raises(PersonNeeded):
                passwords.give_one_time(acting(world, ACCOUNT), login)
            with pytest.raises(PersonNeeded):
                keys.make_key(acting(world, ACCOUNT), login, [Scope.ENDORSE])
        given, asked = passwords.give_one_time(acting(world, ACCOUNT), "boss")
        assert asked is None
        assert come_in(world, "boss", given)

    def test_of_others_takes_two_persons_once_they_are_needed_and_is_good_for_nothing_before(
        self, world
    ):
        boss, li = (by_key(world, n, *Scope, roles=(r,)) for n, r in
                    (("boss", Role.ADMINISTRATOR), ("li", Role.CHECKER)))  # fmt: skip
        person(world)
        turn_on(world, "zhao")
        by_hand = acting(world, replace(boss, scopes=None))
        given, asked = passwords.give_one_time(by_hand, "wang")
        with pytest.raises(SignInRefused):
            come_in(world, password=given)
        with world.context.database.read() as session:
            assert "argon2" not in str(list(list_endorsements(session)))
            assert "argon2" not in str(list_acts(session, 10))
        endorsing.endorse(acting(world, li), asked)
        assert come_in(world, password=given)

    def test_is_no_makers_to_give(self, world):
        wang = by_key(world, "wang", *Scope)
        person(world, "li", Role.CHECKER)
        with pytest.raises(NotAllowed):
            passwords.give_one_time(acting(world, wang), "li")

    def test_ends_the_second_factor_and_all_sign_ins(self, world):
        with_password(world, "boss", Role.ADMINISTRATOR)
        token = come_in(world, "boss")
        given, asked = passwords.give_one_time(acting(world, ACCOUNT), "boss")
        assert asked is None
        with pytest.raises(SignInRefused):
            sign_ins.who(world.context, token, doing=True)
        assert come_in(world, "boss", given)
        with world.context.database.read() as session:
            shown = passwords_given(session, world.clock())
            acts = [a["deed"] for a in list_acts(session, 10)]
        assert [(g["login"], g["by"]) for g in shown] == [("boss", "root")]
        assert "password.given" in acts


def test_pauses_double_and_have_an_end():
    assert [pause_after(n, Counted.LOGIN).total_seconds() for n in (0, 4, 5, 6, 7, 14, 500)] == [
        0, 0, 1, 2, 4, 300, 300,
    ]  # fmt: skip


class TestTwoAtOnce:
    def test_a_password_given_while_another_is_chosen_stays(self, world, monkeypatch):
        with_password(world)
        context = signed(world, come_in(world))
        given = []
        really = passwords.hash_of

        def meanwhile(password):
            monkeypatch.setattr(passwords, "hash_of", really)
            given.append(passwords.give_one_time(world.context, "wang")[0])
            return really(password)

        monkeypatch.setattr(passwords, "hash_of", meanwhile)
        with pytest.raises((KeyRefused, PasswordUnusable)):
            passwords.choose(context, OWN, "another kettle under snow")
        assert come_in(world, password=given[0])

    def test_a_sign_in_by_a_password_that_is_replaced_meanwhile_is_none(self, world, monkeypatch):
        with_password(world)
        really = passwords.is_right

        def meanwhile(kept, password):
            right = really(kept, password)
            monkeypatch.setattr(passwords, "is_right", really)
            passwords.give_one_time(world.context, "wang")
            return right

        monkeypatch.setattr(passwords, "is_right", meanwhile)
        with pytest.raises(SignInRefused):
            come_in(world)

    def test_codes_are_not_guessed_at_an_open_page(self, world):
        give_root_of_secrets(world)
        with_password(world)
        context = signed(world, come_in(world))
        second_factor.offered(context)
        for _ in range(5):
            with pytest.raises(SecondFactorUnusable):
                second_factor.turn_on(context, "000000")
        with pytest.raises(SignInPaused):
            second_factor.turn_on(context, "000000")
