"""What can be wrong with a card, each by its own name, so that the person who stands before it knows what to do.

Pure. A `CardFault` is what waiting cannot mend: nothing is signed, no second login is made, and it is
looked at again without one. `SigningError` alone (the card is away) is waited for. `{detail}` is
language-neutral: labels, serial numbers, dates.
"""

from __future__ import annotations

from typing import Final

from models.rules.errors import BlankformsError, Kind
from models.rules.language import Text


class SigningError(BlankformsError):
    """The card could not sign now. Nothing is lost: signing goes on when it is back."""

    code = "card_unavailable"
    kind = Kind.NOT_NOW
    text = Text(
        "签名卡不可用({detail})；请检查卡与驱动，插回后自动继续，数据未丢失",
        "the card is not available ({detail}); check the card and its driver: nothing is lost, "
        "signing goes on when it is back",
    )


class PinRefused(SigningError):
    """A person must act: this PIN is not tried again by any process (rule 6 of how-it-works.md)."""

    code = "pin_refused"
    kind = Kind.CARD
    text = Text(
        "签名卡口令被拒或已锁({detail})；更正 PKCS11_PIN_FILE 中的口令后自动继续，错误的口令不会再试",
        "the card refused the PIN or is locked ({detail}); correct the PIN in PKCS11_PIN_FILE and "
        "work goes on by itself; the wrong PIN is never tried again",
    )


class CardFault(SigningError):
    """Waiting does not mend it (rule 6 of how-it-works.md): it stops signing before a message is spent."""

    kind = Kind.CARD


class CardExpired(CardFault):
    code = "card_expired"
    text = Text(
        "签名卡的证书已于 {detail} 到期；请到发卡机构更新证书，更新后自动继续，数据未丢失",
        "the certificate of the card ended on {detail}; have it renewed: work goes on by itself then, nothing is lost",
    )


class CardNotYetValid(CardFault):
    code = "card_not_yet_valid"
    text = Text(
        "签名卡的证书自 {detail} 起才有效；请核对本机时间，或换用有效的卡",
        "the certificate of the card is valid from {detail} on; check this machine's clock, or use another card",
    )


class CardOfAnother(CardFault):
    code = "card_of_another_enterprise"
    kind = Kind.CONFIGURATION
    text = Text(
        "签名卡不属于发送企业(卡上的组织机构标识: {detail})；请插入 ENTERPRISE_CODE 所示企业的卡，未签任何报文",
        "the card is not of the sender (its organisation identifier: {detail}); use the card of the enterprise in "
        "ENTERPRISE_CODE; nothing was signed",
    )


class CardLabelNotFound(CardFault):
    code = "card_label_not_found"
    kind = Kind.CONFIGURATION
    text = Text(
        "没有标签为 PKCS11_TOKEN_LABEL 的卡；读到的卡: {detail}。请插入正确的卡或更正设置",
        "no card has the label in PKCS11_TOKEN_LABEL; there are: {detail}. Insert the right card, or correct the setting",
    )


class CardsAmbiguous(CardFault):
    code = "cards_ambiguous"
    kind = Kind.CONFIGURATION
    text = Text(
        "有几张卡都符合设置，序列号: {detail}；请用 PKCS11_TOKEN_SERIAL 指明一张",
        "several cards fit the settings, serial numbers: {detail}; choose one with PKCS11_TOKEN_SERIAL",
    )


class CardKeyMissing(CardFault):
    code = "card_key_missing"
    kind = Kind.CONFIGURATION
    text = Text(
        "卡上没有设置所指的签名密钥；卡上的密钥: {detail}。请更正 PKCS11_KEY_LABEL 或 PKCS11_KEY_ID",
        "the card has no key as the settings name it; it has: {detail}. Correct PKCS11_KEY_LABEL or PKCS11_KEY_ID",
    )


class CardKeysAmbiguous(CardFault):
    code = "card_keys_ambiguous"
    kind = Kind.CONFIGURATION
    text = Text(
        "卡上有几个密钥都符合设置: {detail}；请用 PKCS11_KEY_ID 指明一个",
        "several keys of the card fit the settings: {detail}; choose one with PKCS11_KEY_ID",
    )


class CardCertificateMissing(CardFault):
    code = "card_certificate_missing"
    text = Text(
        "卡上没有与签名密钥配对的证书；卡上的证书: {detail}。请核对 PKCS11_CERTIFICATE_SERIAL，或请发卡机构写入证书",
        "the card has no certificate for its key; its certificates: {detail}. Check PKCS11_CERTIFICATE_SERIAL, or have "
        "the certificate written to the card",
    )


class CardCertificatesAmbiguous(CardFault):
    code = "card_certificates_ambiguous"
    kind = Kind.CONFIGURATION
    text = Text(
        "卡上有几个证书都与密钥配对: {detail}；请用 PKCS11_CERTIFICATE_SERIAL 指明一个",
        "several certificates of the card fit its key: {detail}; choose one with PKCS11_CERTIFICATE_SERIAL",
    )


class CardMechanismMissing(CardFault):
    code = "card_mechanism_missing"
    text = Text(
        "签名卡没有所需的签名机制({detail})；请核对 SIGNATURE_PROFILE、SIGNATURE_MECHANISM 与卡的型号",
        "the card lacks the mechanism that is needed ({detail}); check SIGNATURE_PROFILE, SIGNATURE_MECHANISM and the "
        "kind of card",
    )


class CardPinEachTime(CardFault):
    code = "card_pin_each_time"
    text = Text(
        "密钥 {detail} 每次签名都要输口令，不能批量使用；请向发卡机构申请可连续签名的密钥",
        "key {detail} wants the PIN for each signature and cannot be used in bulk; ask for a key without that",
    )


CARD_ERRORS: Final = {
    error.code: error
    for error in (
        *(SigningError, PinRefused, CardExpired, CardNotYetValid, CardOfAnother, CardLabelNotFound),
        *(CardsAmbiguous, CardKeyMissing, CardKeysAmbiguous, CardCertificateMissing),
        *(CardCertificatesAmbiguous, CardMechanismMissing, CardPinEachTime),
    )
}


def card_error(code: str, detail: str) -> SigningError:
    """The error that was noted by its code, to be said in the reader's language."""
    return CARD_ERRORS.get(code, SigningError)(detail=detail)
