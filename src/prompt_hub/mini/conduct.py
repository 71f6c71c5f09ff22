"""Made-up stories of what somebody did, to be judged: wrong or fine.

Four kinds of story. Reward: praise for a good deed is fine, for a bad one it is wrong; with blame it is the
other way round. Property: taking is fine with the owner's leave. Promise: it is kept or broken. Duty: to
refuse what one's own role asks for is wrong, to refuse somebody else's task is not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from prompt_hub.mini.item import Item
from prompt_hub.mini.words import MEN, WOMEN, Part, Words, lines, pairs, words

LABELS = ("wrong", "fine")
DOMAINS = ("home", "school", "work", "town")


@dataclass(frozen=True)
class Setting:
    """judges: who praises and blames. good, bad: deeds. things: property. acts: (base, past) of what one
    can promise. duties: (role, its task). stories: how often each kind of story is told."""

    judges: Words[str]
    good: Words[str]
    bad: Words[str]
    things: Words[str]
    acts: Words[tuple[str, ...]]
    duties: Words[tuple[str, ...]]
    stories: tuple[str, ...]


SETTINGS = {
    "home": Setting(
        words("the_mother the_father the_aunt the_uncle the_grandmother the_grandfather"),
        lines(
            "had cooked dinner\n had cleaned the bathroom\n had comforted the baby\n had made the beds\n"
            " had watered the flowers\n had told the truth\n had helped the neighbour\n had "
            "shared the sweets\n"
            " had tidied the kitchen"
        ),
        lines(
            "had broken the vase\n had hit the baby\n had hidden the keys\n had teased the cat\n"
            " had lied at dinner\n had ruined the sofa\n had insulted the guests\n had spilled the paint\n"
            " had locked out the neighbour"
        ),
        words("jewels toys savings chocolates slippers earrings perfume blanket diary"),
        pairs(
            "wash_the_car/washed_the_car feed_the_cat/fed_the_cat cook_dinner/cooked_dinner "
            "clean_the_windows/cleaned_the_windows water_the_plants/watered_the_plants "
            "mow_the_lawn/mowed_the_lawn bake_a_cake/baked_a_cake iron_the_shirts/ironed_the_shirts "
            "walk_the_dog/walked_the_dog"
        ),
        pairs(
            "babysitter/watch_the_children cook/prepare_the_meal gardener/cut_the_hedge "
            "maid/dust_the_shelves "
            "plumber/mend_the_tap painter/paint_the_wall tutor/explain_the_lesson nurse/give_the_medicine "
            "butler/answer_the_door"
        ),
        ("promise", "promise", "property", "property", "reward", "duty"),
    ),
    "school": Setting(
        words("the_teacher the_headmaster the_lecturer the_professor the_principal the_dean"),
        lines(
            "had finished the homework\n had solved the exercise\n had helped a classmate\n"
            " had cleaned the blackboard\n had read the whole book\n had practised every day\n"
            " had won the contest\n had welcomed the new pupil\n had answered politely"
        ),
        lines(
            "had copied the homework\n had cheated in the test\n had pushed a classmate\n"
            " had torn the book\n had skipped the lesson\n had mocked the new pupil\n"
            " had shouted in class\n had broken the ruler\n had lied to the class"
        ),
        words("notebook ruler calculator crayons lunch sandals backpack dictionary marbles"),
        pairs(
            "read_the_poem/read_the_poem_aloud write_the_essay/wrote_the_essay "
            "learn_the_song/learned_the_song "
            "bring_the_ball/brought_the_ball draw_the_map/drew_the_map clean_the_board/cleaned_the_board "
            "return_the_books/returned_the_books study_the_words/studied_the_words "
            "join_the_choir/joined_the_choir"
        ),
        pairs(
            "teacher/grade_the_essays librarian/sort_the_books janitor/sweep_the_hall "
            "coach/train_the_players "
            "driver/drive_the_bus pupil/do_the_homework headmaster/greet_the_parents "
            "guard/lock_the_gate secretary/type_the_letter"
        ),
        ("reward", "reward", "duty", "duty", "promise", "property"),
    ),
    "work": Setting(
        words("the_boss the_manager the_director the_chief the_supervisor the_owner"),
        lines(
            "had found the mistake\n had served every customer\n had saved the company\n"
            " had stayed until midnight\n had repaired the machine\n had trained the newcomers\n"
            " had finished the report\n had reported the danger\n had won a client"
        ),
        lines(
            "had stolen the money\n had insulted a customer\n had slept at the desk\n"
            " had lost the contract\n had faked the report\n had damaged the machine\n"
            " had ignored the danger\n had arrived drunk\n had deceived a client"
        ),
        words("laptop tools stapler uniform parcels documents helmet cables invoice"),
        pairs(
            "send_the_parcel/sent_the_parcel call_the_client/called_the_client "
            "print_the_list/printed_the_list "
            "check_the_bill/checked_the_bill test_the_engine/tested_the_engine "
            "order_the_paper/ordered_the_paper clean_the_machine/cleaned_the_machine "
            "book_the_flight/booked_the_flight write_the_report/wrote_the_report"
        ),
        pairs(
            "cashier/count_the_coins lawyer/defend_the_client baker/bake_the_bread pilot/fly_the_plane "
            "doctor/examine_the_patient waiter/serve_the_guests tailor/sew_the_dress "
            "farmer/feed_the_cows editor/correct_the_article"
        ),
        ("duty", "duty", "reward", "reward", "property", "promise"),
    ),
    "town": Setting(
        words("the_mayor the_judge the_sheriff the_priest the_senator the_council"),
        lines(
            "had rescued a child\n had planted trees\n had stopped the thief\n had fed the poor\n"
            " had picked up the litter\n had put out the fire\n had guided the tourists\n"
            " had donated blood\n had warned the drivers"
        ),
        lines(
            "had robbed a shop\n had cut down the trees\n had helped the thief\n had beaten a beggar\n"
            " had thrown litter\n had started a fire\n had cheated the tourists\n"
            " had poisoned the pond\n had frightened the drivers"
        ),
        words("scooter wheelbarrow skateboard tent boat trailer newspaper sledge suitcase"),
        pairs(
            "sweep_the_street/swept_the_street paint_the_fence/painted_the_fence "
            "visit_the_sick/visited_the_sick lead_the_parade/led_the_parade plant_a_tree/planted_a_tree "
            "guard_the_market/guarded_the_market collect_the_waste/collected_the_waste "
            "sing_at_the_festival/sang_at_the_festival ring_the_bell/rang_the_bell"
        ),
        pairs(
            "postman/deliver_the_letters judge/hear_the_case guide/show_the_castle "
            "butcher/cut_the_meat fireman/fight_the_fire driver/stop_the_tram "
            "priest/bless_the_couple warden/open_the_park policeman/chase_the_thief"
        ),
        ("property", "property", "promise", "promise", "reward", "duty"),
    ),
}
PRAISE = words("praised thanked rewarded applauded honoured congratulated")
BLAME = words("scolded punished blamed fined rebuked criticised")
TAKING = words("took used kept borrowed sold carried_away")
LEAVE = lines(
    """
    with the permission of {owner}
    because {owner} had offered it
    after asking {owner}
    as agreed with {owner}
    with the consent of {owner}
    because {owner} had allowed it
    """
)
NO_LEAVE = lines(
    """
    without the permission of {owner}
    although {owner} had refused it
    without asking {owner}
    against the will of {owner}
    without the consent of {owner}
    although {owner} had forbidden it
    """
)
REWARD = lines(
    """
    {judge} {reaction} {name} because {he} {deed}.
    because {name} {deed}, {judge} {reaction} {him}.
    {name} {deed}, so {judge} {reaction} {him}.
    """
)
PROPERTY = lines(
    """
    {name} {took} the {thing} of {owner} {leave}.
    {leave}, {name} {took} the {thing} of {owner}.
    it was {name} who {took} the {thing} of {owner} {leave}.
    """
)
PROMISE = lines(
    """
    {name} promised to {act}, and {then} {he} {did}.
    {he}, {name}, gave {his} word to {act}; {then} {he} {did}.
    {name} said {he} would {act}, and {then} {he} {did}.
    """
)
THEN = words("then later afterwards in_the_end at_last eventually")
DUTY = lines(
    """
    {name} was the {role} and refused to {task}.
    {name}, the {role}, did not want to {task}.
    as the {role}, {name} was not willing to {task}.
    """
)


def _reward(chooser: random.Random, setting: Setting, part: Part, fine: bool) -> dict[str, str]:
    praised = chooser.random() < 0.5
    deeds = setting.good if praised == fine else setting.bad
    return {
        "judge": setting.judges.pick(chooser, part),
        "reaction": (PRAISE if praised else BLAME).pick(chooser, part),
        "deed": deeds.pick(chooser, part),
    }


def _property(chooser: random.Random, setting: Setting, part: Part, fine: bool) -> dict[str, str]:
    owner = (WOMEN if chooser.random() < 0.5 else MEN).pick(chooser, part)
    leave = (LEAVE if fine else NO_LEAVE).pick(chooser, part)
    return {
        "took": TAKING.pick(chooser, part),
        "thing": setting.things.pick(chooser, part),
        "owner": owner,
        "leave": leave.format(owner=owner),
    }


def _promise(chooser: random.Random, setting: Setting, part: Part, fine: bool) -> dict[str, str]:
    act = setting.acts.pick(chooser, part)
    done = act if fine else setting.acts.pick(chooser, part, act)
    return {"act": act[0], "did": done[1], "then": THEN.pick(chooser, part)}


def _duty(chooser: random.Random, setting: Setting, part: Part, fine: bool) -> dict[str, str]:
    role, task = setting.duties.pick(chooser, part)
    if fine:
        other, _ = setting.duties.pick(chooser, part, (role, task))
        role = other
    return {"role": role, "task": task}


STORIES = {
    "reward": (REWARD, _reward),
    "property": (PROPERTY, _property),
    "promise": (PROMISE, _promise),
    "duty": (DUTY, _duty),
}


def story(chooser: random.Random, domain: str, part: Part = "any", short: bool = False) -> Item:
    """One story, always short; its label is one of ``LABELS``."""
    fine = chooser.random() < 0.5
    setting = SETTINGS[domain]
    kind = chooser.choice(setting.stories)
    templates, parts = STORIES[kind]
    female = chooser.random() < 0.5
    slots = parts(chooser, setting, part, fine)
    name = (WOMEN if female else MEN).pick(chooser, part, slots.get("owner", ""))
    pronouns = ("she", "her", "her") if female else ("he", "him", "his")
    slots.update(zip(("he", "him", "his"), pronouns, strict=True))
    text = templates.pick(chooser, part).format(name=name, **slots)
    return Item(text, None, LABELS[fine], kind)
