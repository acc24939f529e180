"""E-mail over SMTP. The same key is the same Message-ID, by which a mail reader can tell a copy; SMTP itself cannot."""

import re
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime

import aiosmtplib

from alerts.channels import Outcome, Outgoing, Result
from alerts.message import leave_by_text

_ADDRESS = re.compile(r"[^\s@,;:<>\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,253}")
_TIMEOUT_S = 20.0


class EmailChannel:
    """Hands mail to one SMTP server."""

    provider = "smtp"
    honours_keys = False

    def __init__(
        self,
        *,
        host: str,
        port: int,
        sender: str,
        username: str | None = None,
        password: str | None = None,
        starttls: bool = True,
    ) -> None:
        self._host, self._port, self._sender = host, port, sender
        self._username, self._password, self._starttls = username, password, starttls

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        to = str(message.address.get("email", ""))
        if not _ADDRESS.fullmatch(to):
            return Outcome(result=Result.REFUSED, error="this is not an e-mail address")
        mail = compose(message, to=to, sender=self._sender, idempotency_key=idempotency_key)
        begun = False
        try:
            async with aiosmtplib.SMTP(
                hostname=self._host,
                port=self._port,
                timeout=_TIMEOUT_S,
                start_tls=self._starttls,
                username=self._username,
                password=self._password,
            ) as server:
                begun = True
                _, answer = await server.send_message(mail)
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [one.code for one in error.recipients]
            lasting = all(code >= 500 for code in codes)
            return Outcome(result=Result.REFUSED if lasting else Result.RETRY, error=f"SMTP {codes}")
        except aiosmtplib.SMTPResponseException as error:
            result = Result.RETRY if error.code < 500 else Result.REFUSED
            return Outcome(result=result, error=f"SMTP {error.code}")
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            # cut off after the dialogue began, the server may have taken the mail
            result = Result.UNCERTAIN if begun else Result.RETRY
            return Outcome(result=result, error=f"{type(error).__name__}: {error}"[:300])
        return Outcome(result=Result.ACCEPTED, provider_ref=answer[:200])


def one_line(text: str) -> str:
    """Text for a header: no line breaks or control characters, which would begin another header."""
    return re.sub(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+", " ", text).strip()


def compose(message: Outgoing, *, to: str, sender: str, idempotency_key: str) -> EmailMessage:
    """The mail of a message."""
    mail = EmailMessage(policy=SMTP_POLICY)
    domain = sender.rpartition("@")[2].strip("<> ") or "localhost"
    mail["From"] = one_line(sender)
    mail["To"] = to
    mail["Subject"] = one_line(message.text.headline)
    mail["Date"] = format_datetime(message.sent_at)
    mail["Message-ID"] = f"<{idempotency_key}@{domain}>"
    mail["List-Id"] = f"Warnings <warnings.{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["Content-Language"] = message.language
    mail["X-Priority"] = "1"
    leave_by = leave_by_text(message.text, message.payload, message.language)
    lines = [message.text.instruction, "", message.text.description, ""]
    if leave_by:
        lines += [leave_by, ""]
    told = [str(one["text"]) for one in message.payload.get("steps") or []]
    if told:
        lines += [*(f"- {one}" for one in told), ""]
    lines.append(message.url)
    mail.set_content("\n".join(lines))
    return mail
