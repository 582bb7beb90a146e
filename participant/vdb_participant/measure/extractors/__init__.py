"""Feature extractors: models that see or hear a clip, from verified local weights, behind one interface.

    interface.py      what a loaded extractor is, and what it can be asked
    table.py          from an architecture's name to what loads it
    loading.py        transformers models and tokenizers from a directory
    computing.py      device and precision, chunks of frames, frames at the middles of equal parts
    projection.py     the public linear map of features, or none
    images.py         CLIPModel, SiglipModel, Dinov2Model, ViTModel
    video.py          VideoMAEModel, VideoMAEFineTuned, VJEPA2Model
    video_text.py     XCLIPModel
    classifiers.py    VideoMAEForVideoClassification, SafetyClassifier, SafetyClassifier
    quality.py        AestheticPredictor, ImageQualityPredictor, CLIPIQA
    perceptual.py     LPIPSAlex, LPIPSVgg, DISTS
    sound.py          ClapModel
    torchscript.py    I3D and C3D, whose weights are a program

Leaves what may be computed with to a spec, checking weights to `vdb_participant.models`, and scores to the modules above.
"""
