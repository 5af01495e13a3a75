"""The second method, of preset nano: motion cues without flow supervision, grouping, drawn mask
prompts.
"""
