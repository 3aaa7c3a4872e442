"""What an ASGI server serves: progress is a long answer, which threads would be wasted on."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crewsite.settings")
application = get_asgi_application()
