# The public names, each listed once. Type checkers and editors read this file; at run time `__init__.py` reads it and
# imports a name when it is first used. One import a line; a star stands for the `__all__` of its module.

from . import errors as errors
from . import webhooks as webhooks
from ._version import __version__ as __version__
from .bulk.fetch import BulkFetch as BulkFetch
from .bulk.outcomes import BulkResult as BulkResult
from .bulk.outcomes import BulkStats as BulkStats
from .bulk.outcomes import MapStats as MapStats
from .bulk.outcomes import Outcome as Outcome
from .client import EachLabs as EachLabs
from .codec.arrow import arrow_schema as arrow_schema
from .codec.strict import to_dict as to_dict
from .costs.report import CostGroup as CostGroup
from .costs.report import CostReport as CostReport
from .errors import *
from .hosts import COMPAT as COMPAT
from .hosts import UNIFIED as UNIFIED
from .hosts import Hosts as Hosts
from .hosts import Service as Service
from .jobs.map_run import MapRun as MapRun
from .jobs.poll import Poll as Poll
from .pagination.exports import ExportedFile as ExportedFile
from .pagination.follow import Follow as Follow
from .pagination.follow import FollowStats as FollowStats
from .pagination.pager import Pager as Pager
from .pagination.pages import Page as Page
from .pagination.pages import UnreadableRow as UnreadableRow
from .pagination.pages import WalkOptions as WalkOptions
from .pagination.pages import WalkStats as WalkStats
from .pagination.window_walk import WindowWalk as WindowWalk
from .pagination.windows import Window as Window
from .records import *
from .transport.retry import RetryPolicy as RetryPolicy
from .transport.retry import Timeouts as Timeouts
