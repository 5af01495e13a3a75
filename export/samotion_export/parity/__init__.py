"""Do graphs answer as their sources do?"""
