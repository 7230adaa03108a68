"""The process that workers fork from ends with the run, even while it imports what they need: it imports this first."""

from flows.server import die_with_parent

die_with_parent()
