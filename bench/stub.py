"""A gateway that costs next to nothing: `python -m bench.stub PORT`. It takes whatever comes, decides at once, and
keeps nothing on the disk, so that what is measured is ours.

`GET /count`: how many messages and forms it has taken.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
import time

from customs.profile.bcm1_xml import NAMESPACE

_MESSAGE = re.compile(
    rb"<sender_id>(\w+)</sender_id>.*?<EtpsPreentNo>(\w+)</EtpsPreentNo><OperType>(\w)</OperType>"
    rb".*?<CertNo>(\w+)</CertNo>",
    re.DOTALL,
)
_SERIAL = re.compile(rb"<SerialNo>(\w+)</SerialNo>")
_QUERY = re.compile(rb"[?&](after|limit)=(\d*)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NOW = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 8 * 3600))


class Books:
    """What was taken, and a receipt for each."""

    def __init__(self) -> None:
        self.forms = 0
        self.receipts: list[str] = []

    def take(self, body: bytes) -> bytes:
        """The answer to a message."""
        found = _MESSAGE.search(body)
        if found is None:
            raise ValueError("no message")
        sender, number, operation, certificate = (part.decode() for part in found.groups())
        serials = _SERIAL.findall(body)
        self.forms += len(serials)
        count = len(self.receipts) + 1
        seq_no, receipt = f"2026{count:014d}", f"R{count:020d}"
        state = "2" if operation == "V" else "3"
        lines = "".join(
            f"<BlankCertReturn><GNo>{g_no}</GNo><SerialNo>{serial.decode()}</SerialNo><RepCode>0000</RepCode>"
            f"<RepMsg>成功</RepMsg><FormState>{state}</FormState></BlankCertReturn>"
            for g_no, serial in enumerate(serials, start=1)
        )
        xml = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Package xmlns="{NAMESPACE}" ver="1.0"><EnvelopInfo>'
            f"<version>1.0</version><message_id>{receipt}</message_id><file_name>{receipt}.xml</file_name>"
            f"<message_type>BCM201</message_type><sender_id>CUSTOMS</sender_id><receiver_id>{sender}</receiver_id>"
            f"<send_time>{_NOW}</send_time></EnvelopInfo><DataInfo><BussinessData><BlankCertReceipt>"
            f"<ReceiptId>{receipt}</ReceiptId><EtpsPreentNo>{number}</EtpsPreentNo><SeqNo>{seq_no}</SeqNo>"
            f"<OperType>{operation}</OperType><CertNo>{certificate}</CertNo><ManageResult>1</ManageResult>"
            f"<ManageTime>{_NOW}</ManageTime>{lines}</BlankCertReceipt></BussinessData></DataInfo></Package>"
        )
        self.receipts.append(json.dumps({"receiptId": receipt, "xml": xml}, ensure_ascii=False))
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<CommonResponeMessage xmlns="{NAMESPACE}">'
            f"<EtpsPreentNo>{number}</EtpsPreentNo><SeqNo>{seq_no}</SeqNo>"
            f"<PayloadSha256>{hashlib.sha256(body).hexdigest()}</PayloadSha256><DealFlag>0000</DealFlag>"
            "<CheckInfo>ok</CheckInfo></CommonResponeMessage>"
        ).encode()

    def page(self, target: bytes) -> bytes:
        """Receipts after a cursor."""
        asked = dict(_QUERY.findall(target))
        after, limit = int(asked.get(b"after") or 0), int(asked.get(b"limit") or 100)
        some = self.receipts[after : after + limit]
        return f'{{"receipts": [{", ".join(some)}], "next": "{after + len(some)}"}}'.encode()

    def count(self) -> bytes:
        """How much there is."""
        return json.dumps({"messages": len(self.receipts), "forms": self.forms}).encode()


class Line(asyncio.Protocol):
    """One connection: requests of HTTP/1.1, one after another."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while True:
            head, found, rest = self._read.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            size = int(length[1]) if length else 0
            if not found or len(rest) < size:
                return
            body, self._read = rest[:size], rest[size:]
            self._answer(head.partition(b"\r\n")[0], body)

    def _answer(self, request: bytes, body: bytes) -> None:
        kind = b"application/json"
        if request.startswith(b"POST"):
            answer, kind = self._books.take(body), b"application/xml"
        elif b"/receipts" in request:
            answer = self._books.page(request)
        else:
            answer = self._books.count()
        self._out.write(  # type: ignore[attr-defined]
            b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (kind, len(answer), answer)
        )


async def main(port: int) -> None:
    books = Books()
    server = await asyncio.get_running_loop().create_server(lambda: Line(books), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
