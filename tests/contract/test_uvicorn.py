"""What we override and read in uvicorn still exists, as we expect it."""

import asyncio
import inspect

import pytest
from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from smartworker.web.patience import PatientProtocol

#: Methods of the protocol that smartworker/web/patience.py overrides.
OVERRIDES = {
    "connection_made": "(self, transport)",
    "connection_lost": "(self, exc)",
    "handle_events": "(self)",
    "pause_writing": "(self)",
    "resume_writing": "(self)",
}
#: Source that must stand in uvicorn: who calls what, and the attributes we read.
SOURCES = {
    "data_received": ["self.handle_events()"],
    "handle_events": ["self.cycle = RequestResponseCycle(", "_unset_keepalive"],
    "on_response_complete": ["call_later(", "timeout_keep_alive_handler", "handle_ev"],
    "connection_made": ["FlowControl(transport)"],
    "__init__": ["self.loop = ", "self.transport", "self.cycle"],
}


def bare(signature: inspect.Signature) -> str:
    """A signature without annotations."""
    return str(
        inspect.Signature(
            [
                parameter.replace(annotation=inspect.Parameter.empty)
                for parameter in signature.parameters.values()
            ]
        )
    )


@pytest.mark.parametrize("name", OVERRIDES)
def test_the_parent_still_has_it(name: str) -> None:
    """With these arguments."""
    method = getattr(H11Protocol, name)
    assert bare(inspect.signature(method)) == OVERRIDES[name]


def test_every_override_is_in_the_table() -> None:
    """One that is forgotten here would go unnoticed when uvicorn changes."""
    ours = {
        name
        for name in vars(PatientProtocol)
        if hasattr(H11Protocol, name) and not name.startswith("__")
    }
    assert ours == set(OVERRIDES)


@pytest.mark.parametrize("name", SOURCES)
def test_the_parent_still_works_that_way(name: str) -> None:
    """The deadlines hang on these lines."""
    source = inspect.getsource(getattr(H11Protocol, name))
    assert [line for line in SOURCES[name] if line not in source] == []


def test_the_flags_are_still_there() -> None:
    """Whether an answer is complete, and whether the client takes it."""
    assert "self.response_complete = " in inspect.getsource(RequestResponseCycle)
    assert "write_paused" in vars(FlowControl(asyncio.Transport())) or hasattr(
        FlowControl, "write_paused"
    )


def test_uvicorn_still_takes_a_class() -> None:
    """The protocol is handed over as the class itself."""
    config = Config(lambda: None, http=PatientProtocol, log_config=None)
    config.load()
    assert config.http_protocol_class is PatientProtocol
