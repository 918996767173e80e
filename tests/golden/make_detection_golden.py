#!/usr/bin/env python3
"""Makes tests/golden/detection.json, which tests/unit/average_precision_test.c compares Lamina with.

    python3 tests/golden/make_detection_golden.py COCO_INSTANCES_JSON         (needs numpy and pycocotools; seconds)

Each case holds ground truth, detections, and what pycocotools makes of them: the 12 numbers of its summary, and
for each class AP and AP at IoU .5. Cases:

    random    all that can go wrong at once: crowds, objects of all sizes, some on the very border of a range,
              objects that count as ignored, classes without ground truth, without detections or without both,
              images without either, an image with 150 detections of a class
    ties      few different scores, and boxes that lie on top of each other: what counts is the order
    coco      ground truth of a COCO file, each box found about once, moved a little

Coordinates are multiples of 1/16, scores of 1/1024: exact in single precision, so both sides see the same
numbers. pycocotools knows no difficult objects; they are given to it with an area outside of all ranges.
"""

import contextlib
import io
import json
import os
import sys

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

HERE = os.path.dirname(os.path.abspath(__file__))
CROWD, DIFFICULT = 1, 2
FAR_TOO_LARGE = 1e12


def snap(x, unit):
    return round(float(x) / unit) * unit


def box(x0, y0, width, height):
    x0, y0 = snap(x0, 1 / 16), snap(y0, 1 / 16)
    return [x0, y0, x0 + max(snap(width, 1 / 16), 1 / 16), y0 + max(snap(height, 1 / 16), 1 / 16)]


def score(x):
    return min(max(snap(x, 1 / 1024), 1 / 1024), 1.0)


def found(rng, truth, spread):
    """A detection of a ground truth box: each edge off by some share of the size."""
    x0, y0, x1, y1 = truth
    edges = rng.normal(0, spread, 4) * [x1 - x0, y1 - y0, x1 - x0, y1 - y0] + truth
    return box(edges[0], edges[1], abs(edges[2] - edges[0]), abs(edges[3] - edges[1]))


# ---- cases: lists of images, each with truths [x0, y0, x1, y1, label, flags, area] and
#      detections [x0, y0, x1, y1, label, score]


def random_truth(rng, classes_with_truth):
    size = rng.choice([6, 20, 32, 50, 96, 150])
    exact = rng.random() < 0.3  # as large as the border of a range, exactly
    width, height = (size, size) if exact else size * rng.uniform(0.6, 1.5, 2)
    corners = box(*rng.uniform(0, 300, 2), width, height)
    area = (corners[2] - corners[0]) * (corners[3] - corners[1])
    if not exact and rng.random() < 0.5:
        area *= rng.uniform(0.5, 1)  # an outline's
    flags = rng.choice([0, CROWD, DIFFICULT], p=[0.8, 0.1, 0.1])
    return corners + [int(rng.choice(classes_with_truth)), int(flags), max(snap(area, 1 / 4), 1 / 4)]


def random_case():
    rng = np.random.default_rng(1)
    classes, with_truth, with_detections = 8, [0, 1, 2, 4, 5], [0, 1, 2, 3, 5]
    images = []
    for i in range(36):
        truths = [random_truth(rng, with_truth) for _ in range(rng.integers(0, 9) if i % 6 else 0)]
        detections = []
        for t in truths:
            for _ in range(rng.integers(0, 4)):
                label = t[4] if rng.random() < 0.85 else int(rng.choice(with_detections))
                if label in with_detections:
                    spread = rng.choice([0.0, 0.03, 0.1, 0.2])
                    detections.append(found(rng, t[:4], spread) + [label, score(rng.beta(3, 2) - spread)])
        for _ in range(rng.integers(0, 6) if i % 9 else 0):
            size = rng.choice([8, 40, 120])
            label = int(rng.choice(with_detections))
            detections.append(box(*rng.uniform(0, 300, 2), size, size) + [label, score(rng.beta(2, 4))])
        if i == 20:
            truths += [random_truth(rng, [0])[:4] + [0, 0, 900.0] for _ in range(4)]
            for k in range(150):
                t = truths[-1 - k % 4]
                detections.append(found(rng, t[:4], 0.02 + 0.002 * k) + [0, score(rng.random())])
        rng.shuffle(detections)
        images.append({"truths": truths, "detections": list(map(list, detections))})
    return classes, images


def ties_case():
    rng = np.random.default_rng(2)
    images = []
    for _ in range(30):
        truths, detections = [], []
        for _ in range(rng.integers(1, 5)):
            corners = box(*(8 * rng.integers(0, 6, 2)), 16 * rng.integers(1, 4), 16 * rng.integers(1, 4))
            area = (corners[2] - corners[0]) * (corners[3] - corners[1])
            for _ in range(rng.integers(1, 3)):
                truths.append(corners + [int(rng.integers(0, 2)), int(rng.choice([0, 0, 0, CROWD])), area])
        for _ in range(rng.integers(2, 20)):
            t = truths[rng.integers(len(truths))]
            dx, dy = 4 * rng.integers(-1, 2, 2)
            detections.append(
                box(t[0] + dx, t[1] + dy, t[2] - t[0], t[3] - t[1]) + [t[4], float(rng.choice([0.25, 0.5, 0.75]))]
            )
        images.append({"truths": truths, "detections": detections})
    return 2, images


def coco_case(path):
    rng = np.random.default_rng(3)
    with open(path) as file:
        data = json.load(file)
    labels = {c["id"]: i for i, c in enumerate(sorted(data["categories"], key=lambda c: c["id"]))}
    images = []
    for image in sorted(data["images"], key=lambda i: i["id"]):
        truths, detections = [], []
        for a in data["annotations"]:
            if a["image_id"] != image["id"]:
                continue
            flags = CROWD if a["iscrowd"] else 0
            truths.append(box(*a["bbox"]) + [labels[a["category_id"]], flags, max(snap(a["area"], 1 / 4), 1 / 4)])
        for t in truths:
            for _ in range(rng.choice([0, 1, 1, 1, 2])):
                spread = rng.choice([0.01, 0.05, 0.1, 0.15])
                label = t[4] if rng.random() < 0.9 else int(rng.integers(len(labels)))
                detections.append(found(rng, t[:4], spread) + [label, score(rng.beta(4, 2) - spread)])
        for _ in range(rng.integers(0, 5)):
            size = rng.uniform(10, 200, 2)
            detections.append(
                box(*rng.uniform(0, 400, 2), *size) + [int(rng.integers(len(labels))), score(rng.beta(2, 5))]
            )
        images.append({"truths": truths, "detections": detections})
    return len(labels), images


# ---- pycocotools


def evaluate(classes, images):
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": i + 1} for i in range(len(images))],
        "categories": [{"id": c + 1} for c in range(classes)],
        "annotations": [
            {
                "id": 0,
                "image_id": i + 1,
                "category_id": t[4] + 1,
                "bbox": [t[0], t[1], t[2] - t[0], t[3] - t[1]],
                "iscrowd": int(t[5] == CROWD),
                "area": FAR_TOO_LARGE if t[5] == DIFFICULT else t[6],
            }
            for i, image in enumerate(images)
            for t in image["truths"]
        ],
    }
    for number, annotation in enumerate(truth.dataset["annotations"]):
        annotation["id"] = number + 1  # 0 would count as no match
    truth.createIndex()
    detections = truth.loadRes(
        [
            {
                "image_id": i + 1,
                "category_id": d[4] + 1,
                "bbox": [d[0], d[1], d[2] - d[0], d[3] - d[1]],
                "score": d[5],
            }
            for i, image in enumerate(images)
            for d in image["detections"]
        ]
    )
    evaluation = COCOeval(truth, detections, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # threshold, recall, class

    def by_class(values):
        return [round(float(values[..., c].mean()), 9) for c in range(classes)]

    return {
        "summary": [round(float(x), 9) for x in evaluation.stats],
        "ap": by_class(precision),
        "ap50": by_class(precision[0]),
    }


def compact(x):
    """Whole numbers without a point: shorter, and the same."""
    if isinstance(x, float):
        return int(x) if x == int(x) else x
    if isinstance(x, list):
        return [compact(y) for y in x]
    return {k: compact(v) for k, v in x.items()} if isinstance(x, dict) else x


def main():
    cases = {"random": random_case(), "ties": ties_case(), "coco": coco_case(sys.argv[1])}
    made = []
    for name, (classes, images) in cases.items():
        with contextlib.redirect_stdout(io.StringIO()):
            result = evaluate(classes, images)
        made.append({"name": name, "classes": classes, "expected": result, "images": images})
        print(name, [round(x, 4) for x in result["summary"]])
    with open(os.path.join(HERE, "detection.json"), "w") as file:
        file.write('{"cases": [\n')
        for k, case in enumerate(made):
            images = ",\n".join(json.dumps(compact(i), separators=(",", ":")) for i in case.pop("images"))
            head = json.dumps(case)[:-1]
            file.write(head + ', "images": [\n' + images + "\n]}" + (",\n" if k + 1 < len(made) else "\n"))
        file.write("]}\n")


main()
