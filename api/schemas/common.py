"""Shapes that every noun shares: problems, pages, GeoJSON."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

#: [longitude, latitude] in degrees, EPSG:4326.
Position = Annotated[list[float], Field(min_length=2, max_length=3, examples=[[79.86, 6.93]])]
#: A warning's level. `none` is an all-clear, or a station below every threshold.
Level = Literal["none", "blue", "yellow", "orange", "red"]
#: A level as it is shown. `unknown` is never the same as `none`: we cannot tell.
ShownLevel = Literal["none", "blue", "yellow", "orange", "red", "unknown"]


class Out(BaseModel):
    """An answer of ours."""

    model_config = ConfigDict(ser_json_inf_nan="null", json_schema_serialization_defaults_required=True)


class In(BaseModel):
    """A request body: strict about what it does not know."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class FieldProblem(Out):
    """One field that is wrong, and why."""

    field: str = Field(description="Path of the field, dots between its parts.", examples=["body.kind"])
    reason: str


class Problem(Out):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="Which kind of problem: a stable URN.", examples=["urn:tocsin:problem:not-found"])
    title: str
    status: int
    detail: str = Field(description="One plain sentence for a person.")
    request_id: str = Field(description="Quote it to whoever runs the installation.")
    errors: list[FieldProblem] = Field(default=[], description="Fields to mend, for invalid input.")


class Point(Out):
    type: Literal["Point"] = "Point"
    coordinates: Position


class LineString(Out):
    type: Literal["LineString"] = "LineString"
    coordinates: list[Position]


class MultiLineString(Out):
    type: Literal["MultiLineString"] = "MultiLineString"
    coordinates: list[list[Position]]


class Polygon(Out):
    type: Literal["Polygon"] = "Polygon"
    coordinates: list[list[Position]]


class MultiPolygon(Out):
    type: Literal["MultiPolygon"] = "MultiPolygon"
    coordinates: list[list[list[Position]]]


Area = Annotated[Polygon | MultiPolygon, Field(discriminator="type")]
Line = Annotated[LineString | MultiLineString, Field(discriminator="type")]

GeometryT = TypeVar("GeometryT")
PropertiesT = TypeVar("PropertiesT")
FeatureT = TypeVar("FeatureT")


class Feature(Out, Generic[GeometryT, PropertiesT]):
    """A GeoJSON feature (RFC 7946). `geometry` is null where the place is not known."""

    type: Literal["Feature"] = "Feature"
    id: str
    geometry: GeometryT | None
    properties: PropertiesT


class FeatureCollection(Out, Generic[FeatureT]):
    """A GeoJSON feature collection. `as_of` is the time it tells of, on the installation's clock."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    as_of: str = Field(description="RFC 3339, UTC.", examples=["2026-07-01T04:10:00Z"])
    features: list[FeatureT]
    truncated: bool = Field(default=False, description="True where `limit` cut the list short.")
