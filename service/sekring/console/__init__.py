"""The pages for people: made here, kept live by Server-Sent Events, readable without scripts."""
