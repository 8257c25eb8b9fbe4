"""A mail server as it really is: aiosmtpd, with STARTTLS and one account.

    smtp_server.py CERTIFICATE KEY USER PASSWORD

It takes mail after STARTTLS and from this account only. It listens on a free port of 127.0.0.1 and prints its address, as
HOST:PORT, once it does; then it prints each mail, as a JSON object in a line. It ends with its standard input, so that it does
not outlive the process that started it.
"""

import asyncio
import email
import email.policy
import json
import logging
import os
import ssl
import sys
import threading

from aiosmtpd.smtp import SMTP, AuthResult


class Printer:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "user": session.auth_data.login.decode(),
            "tls": session.ssl is not None,
            "subject": mail["subject"],
            "headers": {name: str(value) for name, value in mail.items()},
            "text": mail.get_content(),
        }
        print(json.dumps(told), flush=True)
        return "250 2.0.0 taken"


async def serve(certificate, key, user, password):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def authenticate(server, session, envelope, mechanism, data):
        is_known = (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=is_known, auth_data=data)

    def protocol():
        return SMTP(
            Printer(),
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=authenticate,
            hostname="mail.test",
        )

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    print("127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def end_with_standard_input():
    sys.stdin.buffer.read()
    os._exit(0)


# A client that leaves is worth no page of the test's output.
logging.disable(logging.CRITICAL)
threading.Thread(target=end_with_standard_input, daemon=True).start()
asyncio.run(serve(*sys.argv[1:]))
