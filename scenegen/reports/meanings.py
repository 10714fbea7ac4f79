"""What each check means, in plain words, for readers of a report who have not read its definition."""

from __future__ import annotations

MEANINGS: dict[str, str] = {
    "G1": "The file holds finite coordinates, and the object has a size that a robot could meet. "
    "A wrong unit shows here first.",
    "G2": "The surface is closed: every edge joins exactly two faces and every corner one fan of them. "
    "Only a closed surface has an inside, and so a volume and a mass.",
    "G3": "All faces look outwards. A flipped face or shell gives a wrong or negative volume, and engines "
    "and renderers take its inside for its outside.",
    "G4": "The surface does not cut itself, so no volume is counted twice in the mass.",
    "G5": "The object is in one piece, without loose crumbs that would float along with it in a simulation.",
    "G6": "No face is so small or so thin that geometry algorithms lose their footing on it.",
    "G7": "The thinnest wall is thicker than what an engine lets a body sink into the ground; a thinner one is touched "
    "through from both sides.",
    "G8": "The object has as many handles and through-holes as its kind should have: none was closed or torn open.",
    "I1": "Mass over enclosed volume is a density that real materials have. A wrong unit or a guessed mass fails here.",
    "I2": "Some rigid body has these moments of inertia: they are positive and no one exceeds the sum of the other "
    "two. Engines refuse or silently change anything else.",
    "I3": "Centre of mass and inertia fit inside the shape: no mass lies where the object is not.",
    "I4": "The declared mass, centre of mass and inertia are those of the solid with its density, "
    "by an exact integral.",
    "I5": "The engine really uses the declared mass, centre of mass and inertia: read back after loading.",
    "H1": "Every hull is convex, has some width and few vertices, and there are not too many: what engines need for "
    "stable and fast contacts.",
    "H2": "On average the hulls stand out little over the surface. Where they do, contact is felt before it is seen.",
    "H3": "On average little of the solid is left uncovered by hulls. Where it is, things reach into the object.",
    "H4": "The farthest that hulls and surface are apart anywhere, both ways.",
    "H5": "The hulls balance as the solid does: the same centre of mass and the same standing pose.",
    "H6": "Openings stay open: a handle can be reached through, a hole takes a peg.",
    "H7": "How much the hulls overlap, how many vertices they have and how well they fill the solid; for information.",
    "D1": "Before it touches the ground the body falls exactly as the engine's own formula says: no hidden damping, "
    "sleep or other gravity.",
    "D2": "No contact gives the body energy: it never moves faster or higher than its fall allows.",
    "D3": "After contact the body comes to rest in the time that its size allows. Jittering or rocking bodies do not.",
    "D4": "At rest the body sinks into the ground by a small share of its thickness only, and does not hover.",
    "D5": "The ground carries exactly the weight of the body, and its centre of mass lies over its support: it rests, "
    "rather than hangs on solver noise or balances on an edge.",
    "D6": "At rest the body does not tremble.",
    "D7": "At rest the body does not creep or tilt away over seconds.",
    "D8": "The body rests in a pose that its geometry predicts as stable.",
    "D9": "On an incline the body stands until its weight is over the edge of its foot, and then tips: not earlier, as "
    "with hulls that the engine shrinks, and not later.",
    "D10": "On an incline the body sticks below the angle of its friction and slides above it: the engine uses the "
    "friction that was declared.",
    "D11": "With half the time step it rests in the same pose: the result is physics, and no artefact of the step.",
    "D12": "Rest poses that one engine found hold in the other: the object behaves alike in both.",
    "D13": "How often random drops end in each stable pose, against a body that rolls without speed. One that "
    "bounces ends more often in its most stable poses; for information.",
    "D14": "The engine raised no warning, lost no contact and stayed finite.",
    "X1": "The MJCF file, loaded by MuJoCo, holds what was verified: bodies, mass, hulls and contact settings.",
    "X2": "The URDF file, loaded by PyBullet, holds what was verified: bodies, mass and hulls.",
    "X3": "The GLB file, read back, holds the surface that was verified.",
    "X4": "The hull files, read back, hold the hulls that were verified.",
    "X5": "The written file, read back, holds what was verified.",
    "S1": "No two things in the scene overlap.",
    "S2": "Nothing drifts or turns while the scene should stand still; what creeps is reckoned on, in MuJoCo.",
    "S3": "Nothing floats: every object is carried by what it stands on.",
    "S4": "What a light push does: how far things move and whether they come to rest again; for information.",
    "S5": "The engine raised no warning and every object is there once.",
    "S6": "No contact leads from one component to another, so that judging them apart was exact, and nothing in the "
    "scene as a whole overlaps deeper than is allowed.",
    "X6": "The written scene, loaded as a whole, has the contact settings and solver options under which its "
    "components were verified.",
}
"""One or two sentences for each check, by its identifier."""

UNKNOWN = "A check that this version of the report has no words for; its name says what was measured."


def meaning_of(identifier: str) -> str:
    """Return what a check means."""
    return MEANINGS.get(identifier, UNKNOWN)
