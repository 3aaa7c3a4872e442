"""Where each page is."""

from briefs import views
from django.urls import path

urlpatterns = [
    path("", views.index, name="index"),
    path("briefs/", views.create, name="create"),
    path("briefs/<int:brief_id>/", views.show, name="show"),
    path("briefs/<int:brief_id>/progress", views.progress, name="progress"),
    path("briefs/<int:brief_id>/cancel", views.cancel, name="cancel"),
]
