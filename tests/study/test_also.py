"""`--also wandb` of the study command: what is missing there is sent, by this command or by the next."""

import pytest

pytest.importorskip("wandb")


def test_a_study_is_sent_at_once_or_later(write_study, study, place, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(place / "config"))
    name = write_study(hidden=(0.0,))
    assert study(name, "--also", "comet") == 2
    assert capsys.readouterr().err.startswith("error: --also must be 'wandb'")
    assert not (place / "results").exists()
    assert study(name, "--seeds", "1") == 0  # without it
    assert not (place / "results/wandb").exists()
    for _ in range(2):
        assert study(name, "--seeds", "2", "--also", "wandb") == 0
        assert len(list((place / "results/wandb").glob("offline-run-*"))) == 4
    assert "warning" not in capsys.readouterr().err
    next((place / "results/runs/fake").glob("*/wandb.json")).unlink()
    assert study(name, "--seeds", "2", "--reconcile", "--also", "wandb") == 0
    assert capsys.readouterr().out == "Weights & Biases: 1 run was missing, sent\n"
