"""The article's claims, each checkable sentence in its order: its words, what they mean as a test, and its judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.metrics import METRICS
from harness.recommend.claims import containers, environments, general, pex, platforms, serverless, wrappers
from harness.recommend.claims.judging import Judge

if TYPE_CHECKING:
    from harness.spec.scenario import Quality

#: The metrics, each with its state, that a claim is tested by.
Looked = tuple[tuple[str, str], ...]

_BOTH_STARTS: Looked = (("cold_start_s", "page-warm"), ("cold_start_s", "disk-cold"))
_RIGHT: Looked = (("parity", ""),)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the article says, in its own words (``quote``, below the heading ``about``), and how that is tested.

    ``means`` puts it as something that can be so or not, ``experiment`` says what decides. ``looks_at`` are the
    metrics, none where documents decide; ``needs`` says what a run must hold beyond them, ``command`` measures it.
    ``methods`` are those it is about (all where none is named); what is documented of their ``qualities`` is shown.
    Without a ``judge`` it can't be tested here, and ``instead`` says what would test it.
    """

    name: str
    about: str
    quote: str
    means: str
    experiment: str
    looks_at: Looked = ()
    methods: tuple[str, ...] = ()
    qualities: tuple[Quality, ...] = ()
    needs: str = ""
    command: str = ""
    judge: Judge | None = None
    instead: str = ""

    @property
    def measured(self) -> bool:
        """Whether runs decide it."""
        return bool(self.looks_at)


_GENERAL = "methods in general"
_CONTAINERS, _ENVIRONMENTS, _SERVERLESS = "containers", "virtual environments", "serverless"
_PEX, _CLOUD, _API = "PEX", "cloud-based platforms", "wrapper or API"

#: Each checkable sentence of the article, in its order.
CLAIMS: tuple[Claim, ...] = (
    Claim(
        name="alternatives",
        about=_GENERAL,
        quote="There are several alternative methods of packaging ML models",
        means="Whoever takes one of the six families does not take another: no environment serves two of them.",
        experiment="The layers that each method is made of: environment, interface, platform.",
        judge=general.alternatives,
    ),
    Claim(
        name="use-case-decides",
        about=_GENERAL,
        quote="the appropriate method will depend on the specific use case",
        means="No method is best at all that a use can ask for: each is beaten by another on something.",
        experiment="Sizes, starts and memory of every two methods on a machine of one's own, by paired ratios; "
        "'supported' where each method is surely beaten by one (by more than 5 % of a time or a use, since many are "
        "looked through), 'contradicted' where one surely beats all.",
        looks_at=(("packed_bytes", ""), ("unpacked_bytes", ""), *_BOTH_STARTS, ("peak_resident_bytes", "page-warm")),
        needs="methods of three families or more on a machine of one's own, in one run",
        command="harness run digits-forest --method container --method venv --method pex",
        judge=general.trade_offs,
    ),
    Claim(
        name="container-whole-environment",
        about=_CONTAINERS,
        quote="package and distribute the entire runtime environment for a model, including the operating system, "
        "libraries, and dependencies",
        means="An image answers rightly with nothing of the machine's files: system, Python and libraries are its own, "
        "only the kernel is the target's.",
        experiment="All examples asked of the image in a container, whose file system holds no file of the machine's, "
        "and again without a network, read-only, and as a user that owns nothing.",
        looks_at=(*_RIGHT, ("portable", "no-network"), ("portable", "read-only"), ("portable", "non-root")),
        methods=("container",),
        command="harness run digits-forest --method container --profile standard",
        qualities=("carries-python", "carries-system-libraries"),
        judge=containers.whole_environment,
    ),
    Claim(
        name="container-many-dependencies",
        about=_CONTAINERS,
        quote="complex models that have many dependencies",
        means="The more dependencies a model has, the less a container costs beside a virtual environment with the "
        "same ones; and of 20 locked packages or more it still answers rightly.",
        experiment="Disk-cold start of container to venv, paired, over the models of one run, six or more: whether it "
        "falls with the number of locked packages (Kendall's tau, p at most 0.05 by shuffling).",
        looks_at=(("cold_start_s", "disk-cold"), *_RIGHT),
        methods=("container", "venv"),
        command="harness run --method container --method venv",
        needs="container and venv of six models or more, in one run",
        judge=containers.many_dependencies,
    ),
    Claim(
        name="container-system-libraries",
        about=_CONTAINERS,
        quote="models that need to run on specific operating systems",
        means="A model that needs packages of the system answers rightly from a container on a target that does not "
        "have them, and does not from methods that bring no system libraries.",
        experiment="Models with system packages carried to the least system of a release, which lacks them; that a "
        "method fails counts only where it answers there for a model without system packages. A container brings its "
        "own system along: its right answers hold on every release.",
        looks_at=(*_RIGHT, *(("portable", target) for target in containers.LEAST)),
        needs="models with and models without system packages carried to targets, in one run",
        command="harness run edges-opencv digits-forest --method container --method conda --method pyinstaller "
        "--profile standard",
        methods=("container", "venv", "conda", "pex", "pyinstaller"),
        qualities=("carries-system-libraries",),
        judge=containers.system_libraries,
    ),
    Claim(
        name="venv-isolated",
        about=_ENVIRONMENTS,
        quote="create isolated Python environments",
        means="Two models that pin different releases of one package both answer rightly on one machine.",
        experiment="wine-pinned (scikit-learn 1.3.2) and a model with 1.9.1 in one run, as venv and conda.",
        looks_at=_RIGHT,
        methods=("venv", "conda"),
        command="harness run wine-pinned digits-forest --method venv --method conda",
        needs="wine-pinned and digits-forest (or another with scikit-learn 1.9.1), in one run",
        judge=environments.isolated,
    ),
    Claim(
        name="venv-specific-versions",
        about=_ENVIRONMENTS,
        quote="include specific versions of libraries and dependencies",
        means="Models that pin their requirements answer rightly from virtual environments.",
        experiment="All examples of models with pinned requirements, asked of venv and conda; that each package is "
        "checked by its hash is documented.",
        looks_at=_RIGHT,
        methods=("venv", "conda"),
        command="harness run wine-pinned --method venv --method conda",
        qualities=("locked-dependencies",),
        judge=environments.specific_versions,
    ),
    Claim(
        name="venv-rule-of-versions",
        about=_ENVIRONMENTS,
        quote="Models that have specific version requirements [...] -> Virtual environments",
        means="As a rule it has to single the family out: methods of other families do not keep the versions.",
        experiment="The same models with pinned requirements, asked of every other family that locks by hash.",
        looks_at=_RIGHT,
        command="harness run wine-pinned",
        qualities=("locked-dependencies",),
        judge=environments.versions_rule,
    ),
    Claim(
        name="venv-reproduces",
        about=_ENVIRONMENTS,
        quote="reproducing a specific environment",
        means="Two clean builds of the same model, elsewhere and later, have the same contents.",
        experiment="venv and conda built twice from nothing in different folders; other families are shown beside.",
        looks_at=(("reproducible", ""),),
        command="harness run digits-forest --profile standard",
        judge=environments.reproduces,
    ),
    Claim(
        name="serverless-no-servers",
        about=_SERVERLESS,
        quote="run code without provisioning or managing servers",
        means="The platform runs nothing while nobody asks, adds instances by itself, and patches system and Python.",
        experiment="What the vendors document, for each serverless method as it is packaged here.",
        judge=serverless.no_servers,
    ),
    Claim(
        name="serverless-on-demand",
        about=_SERVERLESS,
        quote="models that need to be invoked on-demand",
        means="A function that nobody has asked for fits the platform's limits and answers a first request within the "
        "10 seconds that Lambda gives an Init phase.",
        experiment="Disk-cold start until the first correct answer, in the real runtime on this machine (emulated: "
        "what the platform adds is not in it); a model beyond a limit speaks against it.",
        looks_at=(("cold_start_s", "disk-cold"), *_RIGHT),
        methods=("lambda-zip", "lambda-image", "cloud-functions"),
        command="harness run digits-forest --method lambda-zip --method lambda-image --method cloud-functions",
        judge=serverless.on_demand,
    ),
    Claim(
        name="serverless-infrequent",
        about=_SERVERLESS,
        quote="models that have infrequent usage",
        means="At few requests a day (50, as in the scenario infrequent-use) functions cost less than the smallest "
        "machine with their memory that is always on, even if every request starts one from nothing.",
        experiment="Start and latency of Lambda's methods, by the dated prices of Lambda and of EC2 (modelled): from "
        "how many requests a day on the machine is cheaper.",
        looks_at=(("cold_start_s", "disk-cold"), ("warm_request_s", "page-warm"), ("latency_p50_s", "single-stream")),
        methods=("lambda-zip", "lambda-image"),
        command="harness run digits-forest --method lambda-zip --method lambda-image",
        judge=serverless.infrequent,
    ),
    Claim(
        name="pex-single-file",
        about=_PEX,
        quote="package a Python application and all its dependencies into a single file",
        means="One file answers rightly with nothing fetched; what the model needs of the system counts too.",
        experiment="All examples asked of a PEX in a sandbox without a network; models with system packages speak "
        "against it where the file does not bring them.",
        looks_at=_RIGHT,
        methods=pex.METHODS,
        command="harness run digits-forest --method pex --method pex-scie",
        qualities=("single-file", "carries-system-libraries"),
        judge=pex.single_file,
    ),
    Claim(
        name="pex-no-python",
        about=_PEX,
        quote="can be run without a separate Python installation",
        means="A PEX answers rightly on a machine where no Python is installed.",
        experiment="pex and pex-scie carried to a target without Python, which is isolated for real.",
        looks_at=(("portable", "no-python"),),
        methods=pex.METHODS,
        command="harness run digits-forest --method pex --method pex-scie --profile standard",
        qualities=("carries-python",),
        judge=pex.no_python,
    ),
    Claim(
        name="pex-lightweight",
        about=_PEX,
        quote="models that need to be deployed in a lightweight environment",
        means="A PEX is smaller than what other families make on a machine of one's own, on its way and on the disk. "
        "The Python that a plain PEX needs there is not counted.",
        experiment="Packed size, unpacked size once started, and what travels where the base is there already, to "
        "container, venv, conda and rest-api; sizes are exact.",
        looks_at=(("packed_bytes", ""), ("unpacked_bytes", ""), ("over_base_bytes", "")),
        methods=pex.METHODS,
        command="harness run digits-forest --method pex --method container --method venv --method conda",
        judge=pex.lightweight,
    ),
    Claim(
        name="pex-low-memory",
        about=_PEX,
        quote="models that need to run in low-resource devices",
        means="A PEX starts within less memory than what other families make.",
        experiment="The smallest memory limit under which a start succeeds, to container, venv, conda and rest-api; "
        "nearer than the search's resolution is not decided.",
        looks_at=(("minimum_memory_bytes", ""),),
        methods=pex.METHODS,
        command="harness run digits-forest --method pex --method container --method venv --profile standard",
        judge=pex.low_memory,
    ),
    Claim(
        name="pex-low-cpu",
        about=_PEX,
        quote="models that need to run in low-resource devices",
        means="A PEX uses less of the processor until its first answer than what other families make.",
        experiment="CPU seconds to the first answer, at the first start and at later ones, by paired ratios to "
        "container, venv, conda and rest-api.",
        looks_at=(("cpu_to_first_s", "disk-cold"), ("cpu_to_first_s", "page-warm")),
        methods=pex.METHODS,
        command="harness run digits-forest --method pex --method container --method venv",
        judge=pex.low_cpu,
    ),
    Claim(
        name="cloud-platforms-named",
        about=_CLOUD,
        quote="AWS SageMaker, Google Cloud ML Engine, and Azure Machine Learning Studio",
        means="The platforms that are named are there to be used.",
        experiment="What their vendors document of their end.",
        judge=platforms.platforms_named,
    ),
    Claim(
        name="cloud-easy",
        about=_CLOUD,
        quote="provide easy to use environment",
        means="People get a model running on a cloud platform with less effort than otherwise.",
        experiment="None here: ease is of people.",
        instead="It would take people who deploy the same model each way, the time they need and where they fail. What "
        "the harness knows is only what each way needs: an account, a role, an image.",
    ),
    Claim(
        name="cloud-managing-monitoring",
        about=_CLOUD,
        quote="deploying, managing, and monitoring ML models",
        means="The platform keeps earlier versions and records requests, errors and times, with nothing installed.",
        experiment="What the vendors document, for each cloud platform as it is packaged for here.",
        judge=platforms.managed,
    ),
    Claim(
        name="cloud-automatic-scaling",
        about=_CLOUD,
        quote="They also provide automatic scaling",
        means="The platform adds instances when more is asked and takes them away when less.",
        experiment="What the vendors document; to measure it takes an account and load from several machines.",
        judge=platforms.autoscaling,
    ),
    Claim(
        name="cloud-automatic-patching",
        about=_CLOUD,
        quote="automatic patching",
        means="System and Python of a deployed model are patched with nothing built anew.",
        experiment="What the vendors document, for images of one's own, as they are packaged here; a vendor's own "
        "prebuilt images are not among the methods.",
        judge=platforms.patching,
    ),
    Claim(
        name="cloud-other-benefits",
        about=_CLOUD,
        quote="and other benefits",
        means="Nothing that could be so or not: it names none.",
        experiment="None.",
        instead="It names no benefit that could be looked for.",
    ),
    Claim(
        name="api-web-interface",
        about=_API,
        quote="used to interact with the model via a web interface or an API",
        means="The wrapper answers rightly over HTTP, and has a page with a form.",
        experiment="All examples asked of rest-api over HTTP; that it has a form page is documented, and tested by "
        "the project's own tests.",
        looks_at=_RIGHT,
        methods=("rest-api",),
        command="harness run digits-forest --method rest-api",
        qualities=("http-api", "form-page"),
        judge=wrappers.web_interface,
    ),
    Claim(
        name="api-existing-systems",
        about=_API,
        quote="models that need to be integrated into existing systems",
        means="A wrapper is what makes a model callable by other programs over HTTP.",
        experiment="rest-api asked over HTTP; which methods can be called over HTTP without it, by what is documented. "
        "What it adds to a start and to an answer, beside venv, is shown and decides nothing.",
        looks_at=_RIGHT,
        qualities=("http-api",),
        command="harness run digits-forest --method rest-api --method venv --profile standard",
        judge=wrappers.existing_systems,
    ),
    Claim(
        name="api-non-technical-users",
        about=_API,
        quote="making the model accessible to non-technical users",
        means="People who write no code get a right answer out of it.",
        experiment="None here: success is of people. That there is a page to be used without code is claim "
        "api-web-interface.",
        instead="It would take people who write no code, the form page, and a question to be answered with it.",
    ),
    Claim(
        name="decision-picture",
        about=_GENERAL,
        quote="Decision algorithm for packaging selection",
        means="The picture's branches lead to the family that measurements prefer.",
        experiment="None here: the text that the project has does not hold the picture.",
        instead="It would take the picture. The rules of the text are compared with measurements in every "
        "recommendation ('The article's rule').",
    ),
    Claim(
        name="model-decides",
        about=_GENERAL,
        quote="the choice of packaging method will depend on the specific requirements of the model",
        means="Between two models, two methods change places: the one is surely better here, the other there.",
        experiment="Sizes, starts and memory of every two methods on a machine of one's own, between every two models "
        "of a run, by paired ratios; of times and uses by more than 5 %, since many are looked through.",
        looks_at=(("packed_bytes", ""), ("unpacked_bytes", ""), *_BOTH_STARTS, ("peak_resident_bytes", "page-warm")),
        command="harness run spam-bayes digits-forest --method container --method venv --method pex",
        needs="methods of three families or more, and two models or more, in one run",
        judge=general.depends_on_model,
    ),
    Claim(
        name="audience-decides",
        about=_GENERAL,
        quote="the target audience",
        means="Who is to use it decides which method is best.",
        experiment="None here: an audience is of people. What a scenario says of it (form-page, http-api) rules "
        "methods out by itself.",
        instead="It would take users of several kinds; 'harness scenarios' shows what needs of theirs exclude.",
    ),
    Claim(
        name="resources-decide",
        about=_GENERAL,
        quote="the resources available",
        means="What a target has decides which methods answer there at all.",
        experiment="Every method carried to every target: on some target one answers and another does not.",
        looks_at=tuple(("portable", state) for state in METRICS["portable"].states),
        command="harness run digits-forest --profile standard",
        judge=general.depends_on_resources,
    ),
)
